"""A recurring job: a task, its arguments, a cron expression and policies, under an id.

``Definition`` is what the code declares; ``RecurringJob`` is the row as one reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .job import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a decorator or ``add_or_update`` declares. ``arguments`` and ``options`` are JSON."""

    id: str
    task: str
    arguments: str
    queue: str
    priority: int
    cron: str
    timezone: str
    options: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringJob:
    """A recurring job as it stood when it was read. All times are aware, in UTC."""

    id: str
    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue: str
    priority: int
    cron: str
    timezone: str
    paused: bool
    created_at: datetime
    updated_at: datetime
    next_at: datetime | None
    """The next tick; None while paused."""
    last_due: datetime | None
    """The newest tick that became a job."""
    last_job_id: int | None
    last_job_state: JobState | None
    last_job_at: datetime | None
    """When the last run's job was created, by a tick or by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One entry of a recurring job's history: what became of one due time."""

    recurring_id: str
    due: datetime | None
    """None for a run that was triggered by hand."""
    outcome: str
    """``run`` or ``triggered``."""
    reason: str | None
    job_id: int | None
    created_at: datetime
