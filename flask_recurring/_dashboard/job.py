"""One job: its arguments, its runs on a line of time, its errors, and what it writes."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import Response, abort, request

from .._flask.binding import current_binding
from .._flask.settings import Settings
from ..job import Attempt, Job, JobState
from . import figures
from . import notice as notices
from .console import panel, shown_claim
from .notice import Notice
from .page import answer, polling, wants_fragment
from .timeline import timeline

FASTEST = 0.7
"""Seconds between two looks at a job that runs, or is about to."""
SOON = (JobState.ENQUEUED, JobState.PROCESSING)


def job(job_id: int, notice: Notice | None = None) -> Response:
    """``GET /jobs/details/<id>``. 404 if it is not, or no longer, there."""
    binding = current_binding()
    found = binding.store.jobs.get(job_id)
    if found is None:
        abort(404)
    attempts = binding.store.jobs.attempts(job_id)
    task = binding.registry.tasks.get(found.task)
    asked = request.args.get("claim", type=int)
    shown = request.args.get("shown", type=int)
    claims = binding.store.console.claims(job_id)
    claim = shown_claim(found, claims, asked)
    # An htmx request already has a console; it gets another only when another run writes.
    fresh = wants_fragment() and asked is None and shown != claim
    return answer(
        "job.html",
        finished=found.state.finished,
        at="jobs",
        job=found,
        runs=timeline(found, attempts, binding.store.now()),
        last=_last_failure(found, attempts),
        most=None if task is None else task.defaults.retry.attempts + 1,
        known=task is not None,
        paused_at=figures.paused_queues().get(found.queue),
        goes_at=gone_at(found, binding.settings),
        claim=claim,
        claims=claims,
        console=panel(found, claims, claim) if fresh or not wants_fragment() else None,
        asked=asked,
        faster=polling(FASTEST if found.state in SOON else None),
        notice=notice or _told(),
    )


def gone_at(job: Job, settings: Settings) -> datetime | None:
    """When retention removes the job; None if it stays, or isn't done."""
    ages: dict[JobState, timedelta | None] = {
        JobState.SUCCEEDED: settings.retention_succeeded,
        JobState.DELETED: settings.retention_deleted,
        JobState.FAILED: settings.retention_failed,
    }
    age = ages.get(job.state)
    return None if age is None or job.finished_at is None else job.finished_at + age


def _last_failure(job: Job, attempts: list[Attempt]) -> Attempt | None:
    """The failure to show in full: not one that a later success has made good."""
    if job.state is JobState.SUCCEEDED:
        return None
    failed = [attempt for attempt in attempts if attempt.error_type or attempt.traceback]
    return failed[-1] if failed else None


def _told() -> Notice | None:
    if wants_fragment():
        return None
    return notices.of_jobs(request.args.get("told", ""))
