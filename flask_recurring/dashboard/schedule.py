"""A recurring job's schedule as people read it: its cron in words, its next ticks."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from ..recurring import RecurringJob
from ..schedule import Schedule

NEVER = datetime.max.replace(tzinfo=UTC)


@lru_cache(maxsize=4096)
def wording(cron: str) -> str:
    """The expression in words; empty if this version can't read it (another one wrote it)."""
    try:
        return Schedule(cron).describe()
    except ValueError:
        return ""


def upcoming(job: RecurringJob, after: datetime, count: int = 5) -> list[datetime]:
    """The next ticks, soonest first; fewer than ``count`` if the schedule ends."""
    try:
        return job.schedule.following(after, count)
    except ValueError:
        return []


def next_first(job: RecurringJob) -> datetime:
    """Sorts by the next tick; those that have none come last."""
    return job.next_at or NEVER


def last_first(job: RecurringJob) -> float:
    """Sorts by the last run, newest first; those that never ran come last."""
    return -(job.last_job_at.timestamp() if job.last_job_at else 0.0)
