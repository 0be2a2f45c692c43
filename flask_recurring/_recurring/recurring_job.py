"""A recurring job, its ticks and its past runs as they are read. All times are aware, in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..job import JobState
from .policy import Misfire, Overlap
from .schedule import Schedule, read_schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringJob:
    """A recurring job as it stood when it was read."""

    id: str
    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue: str
    priority: int
    cron: str
    """The expression, or an interval such as ``@every 90s``."""
    timezone: str
    start: datetime | None
    """Nothing is due before."""
    end: datetime | None
    """Nothing is due after."""
    misfire: Misfire
    misfire_limit: int
    misfire_grace: timedelta
    overlap: Overlap
    jitter: timedelta
    keep: int | None
    declared: dict[str, Any]
    """What the code gave, as JSON values by the names of the options: lengths of time in seconds,
    times as ISO text. Defaults are left out."""
    overrides: dict[str, Any]
    """What an operator put in its place, in the same form; it counts until ``Scheduler.reset``."""
    paused: bool
    application: str | None
    """The application whose code declares it; None for what ``add_or_update`` made."""
    orphaned_at: datetime | None
    """When it was found that no server declares it any more. It has no ticks until one does."""
    created_at: datetime
    updated_at: datetime
    next_at: datetime | None
    """The next tick; None if there is none, and while it is paused or orphaned."""
    last_due: datetime | None
    """The newest tick that became a job."""
    last_job_id: int | None
    last_job_state: JobState | None
    last_job_at: datetime | None
    """When the last run's job was created, by a tick or by ``Scheduler.trigger``."""

    @property
    def schedule(self) -> Schedule:
        """When it is due. Raises ``ConfigurationError`` if only a newer version can read it."""
        return read_schedule(self.cron, self.timezone, self.start, self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One entry of a recurring job's history: what became of one due time."""

    recurring_id: str
    due: datetime | None
    """None for a run that somebody triggered."""
    outcome: str
    """``run``, ``skipped``, ``missed`` or ``triggered``."""
    reason: str | None
    """Why it was skipped or missed, or who triggered it."""
    job_id: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TickResult:
    """One entry of a recurring job's history, with how its run went."""

    tick: Tick
    state: JobState | None
    """Of the run's job; None if there was no job, or it has been deleted."""
    started_at: datetime | None
    """When the last attempt began."""
    finished_at: datetime | None
    lateness: float | None
    """Seconds from when it was due, or triggered, to the beginning of the first attempt."""
    duration: float | None
    """Seconds that the last attempt took, None while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How late the last runs were and how long they took, in seconds.

    p50 is the median and p95 the 95th percentile; None if there were no runs.
    """

    runs: int
    lateness_p50: float | None
    lateness_p95: float | None
    duration_p50: float | None
    duration_p95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousRun:
    """The last run of a recurring job that succeeded, before the present one."""

    job_id: int
    due: datetime | None
    """The tick that it was for; None for a run that somebody triggered."""
    started_at: datetime
    finished_at: datetime
