"""What crosses the seam between the store's nouns and its drivers: rows about to be written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from .notification import Notification, Topic

SOON = 2.0
"""Seconds. A poll finds a job that is due later than this in time, without a notification."""


class NewJob(NamedTuple):
    """A job to be written. It runs at ``run_at``, or ``delay`` seconds from the database's now."""

    task: str
    arguments: str
    queue: str = "default"
    priority: int = 0
    run_at: datetime | None = None
    delay: float = 0.0
    recurring_id: str | None = None
    due: datetime | None = None
    key: str | None = None
    options: str | None = None
    key_kept: bool = False
    """True if a finished job that has the key counts as this one too: see ``keys``."""

    @property
    def plain(self) -> bool:
        """True if it runs now, and has no more than task, arguments, queue and priority."""
        return self[4:] == (None, 0.0, None, None, None, None, False)

    @property
    def notification(self) -> Notification | None:
        """The notification that it is worth: none if it runs so late that polls will find it."""
        wait = self.delay
        if self.run_at is not None:
            # By this host's clock, which may be wrong: then a poll finds the job, a little late.
            wait = (self.run_at - datetime.now(UTC)).total_seconds()
        if wait > SOON:
            return None
        topic = Topic.LATER if wait > 0 else Topic.TICK if self.due is not None else Topic.JOB
        return Notification(topic, self.queue, self.priority)


class TickWrite(NamedTuple):
    """One tick, what becomes of it, and when its recurring job is due after it."""

    recurring_id: str
    due: datetime | None
    """None if no tick is worth a run any more, and the row only moves on."""
    next_at: datetime | None
    task: str
    arguments: str
    queue: str
    priority: int
    options: str | None
    outcome: str = "run"
    """Only for this one a job is written."""
    reason: str | None = None
    start: datetime | None = None
    """When the job may run; None for at once."""
    awaiting: bool = False
    """True if the job waits for the end of another."""


class ConsoleRow(NamedTuple):
    """One console row: lines that came together, or with ``progress`` a bar whose last value wins.

    The first line stands in the row itself, those after it in ``more``; ``console`` packs them.
    """

    job_id: int
    claim: int
    seq: int
    moment: float
    """When it was written, in seconds of the process's monotonic clock."""
    text: str
    color: str | None
    level: str | None
    progress: float | None
    more: str | None = None


class Tally(NamedTuple):
    """Counts of one task in one minute, to be added to what the database holds."""

    task: str
    succeeded: int
    failed: int
    retried: int
    run_seconds: float
    wait_seconds: float


class Accepted(NamedTuple):
    """Which of the runs that were given back still belonged to this server."""

    successes: int
    failures: set[int]
    """Ids of the jobs whose failure was written."""
