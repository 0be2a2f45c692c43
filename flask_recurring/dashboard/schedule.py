"""A recurring job's schedule as people read it: its cron in words, its next ticks."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from ..cron import CronExpression
from ..recurring import RecurringJob

NEVER = datetime.max.replace(tzinfo=UTC)


@lru_cache(maxsize=4096)
def wording(cron: str) -> str:
    """The expression in words; empty if this version can't read it (another one wrote it)."""
    try:
        return CronExpression(cron).describe()
    except ValueError:
        return ""


def upcoming(job: RecurringJob, after: datetime, count: int = 5) -> list[datetime]:
    """The next ticks, soonest first; fewer than ``count`` if the schedule ends."""
    ticks: list[datetime] = []
    try:
        expression, zone = CronExpression(job.cron), ZoneInfo(job.timezone)
    except (ValueError, LookupError):
        return ticks
    moment: datetime | None = after
    while len(ticks) < count:
        moment = expression.next(moment, zone) if moment is not None else None
        if moment is None:
            break
        ticks.append(moment)
    return ticks


def next_first(job: RecurringJob) -> datetime:
    """Sorts by the next tick; those that have none come last."""
    return job.next_at or NEVER


def last_first(job: RecurringJob) -> float:
    """Sorts by the last run, newest first; those that never ran come last."""
    return -(job.last_job_at.timestamp() if job.last_job_at else 0.0)
