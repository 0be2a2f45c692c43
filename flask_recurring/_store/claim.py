"""What a server takes from the database.

**Lanes.** A lane is one pair of queue and priority. Inside a lane the claim's index is in the order
of ``run_at``, so a claim walks each lane from its front and stops when it has enough; it never
sorts. ``Lane.mark``, when set, lets the walk start later: see the claimer.

**Fencing.** Each claim raises the job's ``claim`` counter, and whatever is written about a run
names the claim it belongs to. A server that was taken for dead and comes back finds that its word
counts no more, because by then the counter has moved or the job has left the state Processing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

LOST_LIMIT = 3
"""A job whose server died so many times under it is taken for the cause."""


@dataclass(slots=True)
class Lane:
    """One queue at one priority, with jobs waiting in it."""

    queue: str
    priority: int
    next_run_at: datetime | None = None
    """When the first job of the lane may run, whoever knows its task."""
    mark: datetime | None = None
    """Where a claim may begin to look; None for the lane's front."""


@dataclass(frozen=True, slots=True)
class LaneDiscovery:
    """All lanes that hold waiting jobs, at one moment of the database's clock."""

    now: datetime
    lanes: list[Lane]
    paused: frozenset[str] = frozenset()
    """Queues that servers take nothing from."""


class Claimed(NamedTuple):
    """A job that this server may run now."""

    id: int
    claim: int
    attempt: int
    task: str
    arguments: str
    queue: str
    priority: int
    run_at: datetime
    waited: float
    """Seconds from ``run_at`` to the claim."""
    recurring_id: str | None
    due: datetime | None
    options: str | None
    lost: int = 0
    """How many servers died while they held the job."""
