"""What pages show of the whole, the same for all viewers: asked for once a second and process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from flask import Flask, current_app

from .._flask.binding import current_binding
from .._recurring.recurring_job import RecurringJob
from .._store import CappedCount, Minute, ServerInfo
from ..job import Job, JobState
from .processing import Processing
from .shared import Shared

SHARED = "recurring.dashboard.shared"
"""Key of an application's answers in its extensions."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What the first page shows besides counts and servers."""

    minutes: list[Minute]
    running: list[Job]
    failures: list[Job]
    coming: list[RecurringJob]
    recurring_count: CappedCount


def counts() -> Mapping[JobState, CappedCount]:
    """How many jobs are in each state."""
    return shared().get("counts", lambda: current_binding().store.jobs.counts())


def live_servers() -> list[ServerInfo]:
    """The processes that take and run jobs."""
    return shared().get("servers", lambda: current_binding().store.servers.live())


def processing() -> Processing:
    """How many of the jobs that servers hold do run."""
    return Processing.of(counts(), live_servers())


def paused_queues() -> Mapping[str, datetime]:
    """The queues that are paused, and since when."""
    return shared().get("paused", lambda: current_binding().store.queues.paused())


def description() -> str:
    """Name, version and place of the database."""
    return shared().get("description", lambda: current_binding().store.description)


def overview(shown: int) -> Overview:
    """The rest of the first page, with so many rows in each of its lists."""

    def ask() -> Overview:
        store = current_binding().store
        return Overview(
            minutes=store.statistics.series(60),
            running=store.jobs.page(JobState.PROCESSING, limit=shown).items,
            failures=store.jobs.page(JobState.FAILED, limit=shown).items,
            coming=store.recurring.upcoming(shown),
            recurring_count=store.recurring.count(),
        )

    return shared().get(("overview", shown), ask)


def shared(app: Flask | None = None) -> Shared:
    """The answers that an application's viewers share."""
    extensions = (app or current_app).extensions
    if SHARED not in extensions:
        extensions.setdefault(SHARED, Shared(lambda: current_binding().store.database.rest()))
    answers: Shared = extensions[SHARED]
    return answers
