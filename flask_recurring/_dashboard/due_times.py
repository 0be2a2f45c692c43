"""A recurring job's schedule as people read it: its cron in words, its next due times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from .._recurring.recurring_job import RecurringJob
from .._recurring.schedule import Schedule

COUNT = 5
"""Due times that are shown ahead."""
UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Coming:
    """A due time to come, on the clocks of the recurring job's zone."""

    at: datetime
    day: str
    clock: str
    zone: str
    """As it is called on that day: CET or CEST, for instance."""

    @classmethod
    def of(cls, at: datetime, zone: tzinfo) -> Coming:
        there = at.astimezone(zone)
        # An interval may come several times in a second.
        clock = there.strftime("%H:%M:%S") + (f"{there:.%f}"[:4] if there.microsecond else "")
        return cls(at, there.strftime("%a %Y-%m-%d"), clock, there.strftime("%Z"))


@lru_cache(maxsize=4096)
def wording(cron: str) -> str:
    """The expression in words; empty if this version can't read it (another one wrote it)."""
    try:
        return Schedule(cron).describe()
    except ValueError:
        return ""


def zone_of(job: RecurringJob) -> ZoneInfo:
    """The recurring job's zone, UTC if this machine doesn't know it."""
    try:
        return job.schedule.zone
    except ValueError:
        return UTC


def following(schedule: Schedule, after: datetime) -> list[Coming]:
    """The next due times of a schedule."""
    return [Coming.of(at, schedule.zone) for at in schedule.following(after, COUNT)]


def upcoming(job: RecurringJob, now: datetime) -> list[Coming]:
    """The next due times of a recurring job, the planned one first; none while it is paused."""
    if job.next_at is None:
        return []
    zone = zone_of(job)
    try:
        # From the start of the minute: the list, and with it the page's ETag, stays as it is.
        after = max(job.next_at, now.replace(second=0, microsecond=0))
        further = job.schedule.following(after, COUNT - 1)
    except ValueError:
        further = []
    return [Coming.of(at, zone) for at in (job.next_at, *further)]
