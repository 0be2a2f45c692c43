"""Runs a job and says how that ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import msgspec

from .._arguments import encode_result
from .._log.logger import logger
from .._random import rng
from .._run.child import Forks, leave
from .._run.console import Console, current_console
from .._run.context import FindPrevious, JobContext, current_context
from .._store.claim import Claimed
from .._store.completion import Failure, Outcome, Success
from .._store.text import storable
from ..errors import ConfigurationError, JobCancelled
from ..retry import RetryPolicy
from ..task import Task
from .completer import Completer
from .outcome import failure_of
from .prefetch_buffer import PrefetchBuffer, Run
from .report import Report

LONGEST_MESSAGE = 2_000
LONGEST_LINE = 300
"""Characters that are kept of an error's message: with the attempt, and in a line that tells it."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What an application's jobs need in order to run.

    ``scope`` gives a fresh context for each run: in Flask, the application context.
    """

    tasks: Mapping[str, Task[..., Any]]
    scope: Callable[[], AbstractContextManager[Any]]


class Runner:
    """Runs jobs, on as many threads at once as call ``run``."""

    def __init__(
        self,
        workload: Workload,
        buffer: PrefetchBuffer,
        completer: Completer,
        *,
        console_lines: int,
        console_bytes: int,
        time_limit_set: Callable[[JobContext, float], None],
        find_previous: FindPrevious | None = None,
    ) -> None:
        self._forks = Forks.count
        self._workload = workload
        self._buffer = buffer
        self._completer = completer
        self._console_lines = console_lines
        self._console_bytes = console_bytes
        self._time_limit_set = time_limit_set
        self._find_previous = find_previous

    def run(self, job: Claimed) -> None:
        """Run one job. Whatever its function raises, this returns.

        What is raised around that comes out of here; then the job is one for ``fail``.
        """
        started = time.monotonic()
        if started > self._buffer.lease_until:
            if self._buffer.lost(job):
                return
            started = time.monotonic()
        console = Console(
            self._completer,
            job.id,
            job.claim,
            max_lines=self._console_lines,
            max_bytes=self._console_bytes,
        )
        context = JobContext(
            job_id=job.id,
            task=job.task,
            attempt=job.attempt,
            queue=job.queue,
            console=console,
            recurring_id=job.recurring_id,
            # A PostgreSQL session tells the time in a zone of its own.
            due=None if job.due is None else job.due.astimezone(UTC),
            find_previous=self._find_previous,
        )
        run = Run(job, context, started)
        self._buffer.begun(run)
        current_context.set(context)
        current_console.set(console)
        options: dict[str, Any] = {}
        limit: float | None = None
        end: Success | Failure
        try:
            if job.options is not None:
                options = msgspec.json.decode(job.options)
                if "overlap" in options:
                    self._buffer.awaited.add((job.id, job.claim))
            task = self._workload.tasks[job.task]
            timeout = options.get("timeout", task.defaults.timeout)
            if timeout is not None:
                limit = started + timeout
                self._time_limit_set(context, limit)
            args, kwargs = task.signature.unpack(job.arguments)
            with self._workload.scope():
                try:
                    returned = task.run(context, args, kwargs)
                finally:
                    # A child that the job forked goes no further: what comes is its parent's.
                    if Forks.count != self._forks:
                        leave(sys.exception())
        except BaseException as error:
            # All of them: a job that calls sys.exit has failed, and the worker goes on.
            end = self._end(run, console, options, limit, error, None)
        else:
            if returned is None and limit is None and context._reason is None:
                # Most are so: there is nothing to decide, and nothing to keep.
                finished = time.monotonic()
                end = Success(job.id, job.claim, started, finished, None, job.task, job.waited)
            else:
                end = self._end(run, console, options, limit, None, returned)
        # Handed over before it counts as ended: a server that stops waits for those that run.
        if isinstance(end, Success):
            self._completer.succeeded(end)
        else:
            self._completer.fail(end)
        self._buffer.ended(run)
        self._buffer.finished(started, end.finished)

    def fail(self, job: Claimed, error: BaseException) -> None:
        """End a job's run as failed, whatever else there is of it, unless its end is told already.

        :param error: what came out of ``run``.
        """
        if not self._buffer.holds(job):
            return
        report = Report.of(error)
        why = f": {report.message}" if report.message else ""
        report = report._replace(message=f"the end of the run could not be told{why}")
        retry_in = self._retry_in(job, _options(job))
        _log(job, report, retry_in, error, final=retry_in is None)
        run = self._buffer.running.get(job.id)
        started = time.monotonic() if run is None else run.started
        self._completer.fail(failure(job, Outcome.FAILED, started, report, retry_in=retry_in))
        self._buffer.drop(job)

    def _end(
        self,
        run: Run,
        console: Console,
        options: dict[str, Any],
        limit: float | None,
        error: BaseException | None,
        returned: Any,
    ) -> Success | Failure:
        finished = time.monotonic()
        late = limit is not None and finished >= limit
        failure = failure_of(run.context, error, late=late)
        if failure is not None:
            return self._failure(run, console, options, finished, *failure)
        result = None
        if returned is not None:
            try:
                result = encode_result(returned)
            except Exception as refused:
                reason = Report.of(refused).message
                console.write(f"The result was not kept: {reason}", "yellow", "WARNING")
        job = run.job
        return Success(job.id, job.claim, run.started, finished, result, job.task, job.waited)

    def _failure(
        self,
        run: Run,
        console: Console,
        options: dict[str, Any],
        finished: float,
        outcome: Outcome,
        error: BaseException,
    ) -> Failure:
        job, failed, retry_in = run.job, outcome is Outcome.FAILED, None
        if not failed and isinstance(error, JobCancelled):
            # It stopped as it was asked to, and that says all.
            report = Report.of(error)._replace(traceback=None)
        else:
            report = Report.of(error)
            if failed:
                retry_in = self._retry_in(job, options)
            final = failed and retry_in is None
            # To the console goes the line alone: the traceback stands beside it on the job's page.
            current_console.set(None)
            line = _log(job, report, retry_in, error, final=final)
            console.write(line, *(("red", "ERROR") if final else ("yellow", "WARNING")))
        return failure(job, outcome, run.started, report, retry_in=retry_in, finished=finished)

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
        task = self._workload.tasks.get(job.task)
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
