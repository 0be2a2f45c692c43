"""A recurring job's schedule as people read it: its cron in words, its next ticks."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from ..recurring import RecurringJob
from ..schedule import Schedule


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
