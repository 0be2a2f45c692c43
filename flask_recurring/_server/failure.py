"""What follows when a run did not succeed: the next attempt, what is kept of it, what is logged."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from .._log.logger import logger
from .._random import rng
from .._run.console import Console, current_console
from .._store.claim import Claimed
from .._store.completion import Failure
from .._store.text import storable
from .._store.transitions import Outcome
from ..errors import ConfigurationError, JobCancelled
from ..retry import RetryPolicy
from ..task import Task
from .prefetch_buffer import Run
from .report import Report

LONGEST_MESSAGE = 2_000
"""Characters that an attempt keeps of an error's message."""

LONGEST_LINE = 300
"""Characters of it that are logged."""


class Failures:
    """Makes the failure that is written, after deciding about the next attempt and logging it."""

    def __init__(self, tasks: Mapping[str, Task[..., Any]]) -> None:
        self._tasks = tasks

    def of_run(
        self,
        run: Run,
        console: Console,
        options: dict[str, Any],
        finished: float,
        outcome: Outcome,
        error: BaseException,
    ) -> Failure:
        """The failure of a run that has come to its end."""
        job, failed, retry_in = run.job, outcome is Outcome.FAILED, None
        report = Report.of(error)
        if not failed and isinstance(error, JobCancelled):
            # It stopped as it was asked to, and that says all.
            report = report._replace(traceback=None)
        else:
            if failed:
                retry_in = self._retry_in(job, options)
            final = failed and retry_in is None
            # To the console goes the line alone: the traceback stands beside it on the job's page.
            current_console.set(None)
            line = _log(job, report, retry_in, error, final=final)
            console.write(line, *(("red", "ERROR") if final else ("yellow", "WARNING")))
        return failure(job, outcome, run.started, report, retry_in=retry_in, finished=finished)

    def of_broken_run(self, job: Claimed, started: float, error: BaseException) -> Failure:
        """The failure of a run around which something broke, so that its end is not known."""
        report = Report.of(error)
        why = f": {report.message}" if report.message else ""
        report = report._replace(message=f"the end of the run could not be told{why}")
        retry_in = self._retry_in(job, _options(job))
        _log(job, report, retry_in, error, final=retry_in is None)
        return failure(job, Outcome.FAILED, started, report, retry_in=retry_in)

    def _retry_in(self, job: Claimed, options: dict[str, Any]) -> float | None:
        """Seconds until the next attempt; None if there is none."""
        retry = self._retry(job, options)
        return retry.delay(job.attempt, rng) if job.attempt <= retry.attempts else None

    def _retry(self, job: Claimed, options: dict[str, Any]) -> RetryPolicy:
        if "retry" in options:
            try:
                return RetryPolicy.from_json(options["retry"])
            except ConfigurationError as error:
                logger.error("Job %d: %s. The task's own policy counts.", job.id, error)
        task = self._tasks.get(job.task)
        return RetryPolicy() if task is None else task.defaults.retry


def failure(
    job: Claimed,
    outcome: Outcome,
    started: float,
    report: Report,
    *,
    retry_in: float | None = None,
    finished: float | None = None,
) -> Failure:
    """The end of a run that did not succeed; now, unless ``finished`` says when."""
    trace = report.traceback
    return Failure(
        id=job.id,
        claim=job.claim,
        attempt=job.attempt,
        outcome=outcome,
        started=started,
        finished=time.monotonic() if finished is None else finished,
        retry_in=retry_in,
        error_type=storable(report.kind, 200),
        message=storable(report.message, LONGEST_MESSAGE),
        traceback=None if trace is None else storable(trace),
        task=job.task,
        waited=job.waited,
        queue=job.queue,
        priority=job.priority,
    )


def _log(
    job: Claimed, report: Report, retry_in: float | None, error: BaseException, *, final: bool
) -> str:
    """Log that a run failed; returns the line.

    What tries again is a warning, which error trackers don't take for an event; only the first one
    of a job brings its traceback along, since the others mostly have the same. A job that has
    failed for good is an error, with all that there is to say.
    """
    text = storable(report.summary, LONGEST_LINE)
    after = "" if retry_in is None else f". Next attempt in {retry_in:.0f} s."
    say = logger.error if final else logger.warning
    say(
        "Job %d (%s), attempt %d: %s%s",
        *(job.id, job.task, job.attempt, text, after),
        exc_info=error if final or job.attempt == 1 else None,
        traceback=report.traceback,
        extra={
            "job_id": job.id,
            "task": job.task,
            "queue": job.queue,
            "attempt": job.attempt,
        },
    )
    return f"Job {job.id} ({job.task}), attempt {job.attempt}: {text}{after}"


def _options(job: Claimed) -> dict[str, Any]:
    """What the job's row says about its run; nothing if that can't be read."""
    try:
        options = msgspec.json.decode(job.options or "{}")
    except ValueError:
        return {}
    return options if isinstance(options, dict) else {}
