"""A job's state as one reads it, and where the jobs in each state are found.

The database holds no Scheduled: it is an Enqueued job whose ``run_at`` lies ahead, so nothing has
to move it when its time comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..job import JobState
from .transitions import among, in_states, quoted
from .types import now

Condition = sa.ColumnElement[bool]

# Written out in each index and statement, since a partial index serves only a query that repeats
# its condition word for word.
WAITING = among([JobState.ENQUEUED])
AWAITING = among([JobState.AWAITING])
RUNNING = "server_id IS NOT NULL"
FINISHED = "finished_at IS NOT NULL"


def shown(job: Any) -> sa.ColumnElement[str]:
    """The state of a job of these columns, as one reads it."""
    return sa.case((scheduled(job), JobState.SCHEDULED.value), else_=job.state)


def scheduled(job: Any) -> Condition:
    """The condition that a job is Scheduled."""
    ahead: Condition = job.run_at > now()
    return in_states(job.state, (JobState.ENQUEUED,)) & ahead


def waiting(run_at: datetime, instant: datetime) -> JobState:
    """The state, at an instant, of a job that waits for its time or for a worker."""
    return JobState.SCHEDULED if run_at > instant else JobState.ENQUEUED


@dataclass(frozen=True, slots=True)
class Listed:
    """How the jobs in one state are found and listed."""

    where: Callable[[Any], Sequence[Condition]]
    """Spelt as in an index's condition, so that the planner sees that the index applies."""
    by: str | None
    """The time that they are sorted by; None if it is the id alone."""
    ascending: bool = False
    """True if the earliest come first: the next to run, and the one that has run for longest."""
    by_lane: bool = False
    """True if the index is in the order of the time only inside of one queue and priority."""


def _stored(job: Any, state: JobState) -> Condition:
    is_state: Condition = job.state == sa.literal_column(quoted(state))
    return is_state


def _over(state: JobState) -> Listed:
    return Listed(
        lambda job: [job.state == state.value, job.finished_at.is_not(None)], "finished_at"
    )


LISTED = {
    JobState.ENQUEUED: Listed(
        lambda job: [_stored(job, JobState.ENQUEUED), job.run_at <= now()],
        *("run_at", True, True),
    ),
    JobState.SCHEDULED: Listed(
        lambda job: [_stored(job, JobState.ENQUEUED), job.run_at > now()],
        *("run_at", True, True),
    ),
    JobState.PROCESSING: Listed(lambda job: [job.server_id.is_not(None)], "started_at", True),
    JobState.AWAITING: Listed(lambda job: [_stored(job, JobState.AWAITING)], None),
    JobState.SUCCEEDED: _over(JobState.SUCCEEDED),
    JobState.FAILED: _over(JobState.FAILED),
    JobState.DELETED: _over(JobState.DELETED),
}
