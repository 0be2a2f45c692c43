"""A worker: runs one job after the other and says how each ended."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC
from os import getpid
from typing import Any

import msgspec

from ..arguments import encode_result
from ..chance import chance
from ..child import leave
from ..console import Console, current_console
from ..context import FindPrevious, JobContext, current_context
from ..errors import ConfigurationError, JobCancelled
from ..retry import RetryPolicy
from ..store.claim import Claimed
from ..store.completion import Outcome, Setback, Success
from ..store.text import storable
from ..task import Task
from .backoff import logger
from .completer import Completer
from .outcome import failure_of
from .stock import Run, Stock

LONGEST_MESSAGE = 2_000
LONGEST_TRACEBACK = 100_000


@dataclass(frozen=True, slots=True)
class Workload:
    """What an application's jobs need in order to run.

    ``scope`` gives a fresh context for each run: in Flask, the application context.
    """

    tasks: Mapping[str, Task[..., Any]]
    scope: Callable[[], AbstractContextManager[Any]]


class Runner:
    """Runs jobs, on as many threads at once as call ``work``."""

    def __init__(
        self,
        workload: Workload,
        stock: Stock,
        completer: Completer,
        *,
        console_lines: int,
        console_bytes: int,
        time_limit_set: Callable[[JobContext, float], None],
        find_previous: FindPrevious | None = None,
    ) -> None:
        self._process = getpid()
        self._workload = workload
        self._stock = stock
        self._completer = completer
        self._console_lines = console_lines
        self._console_bytes = console_bytes
        self._time_limit_set = time_limit_set
        self._find_previous = find_previous

    def work(self) -> None:
        """Run jobs until the stock says that it is over."""
        while (job := self._stock.take()) is not None:
            # What a job puts into context variables is gone with it.
            Context().run(self.run, job)

    def run(self, job: Claimed) -> None:
        """Run one job. Whatever it does, this returns."""
        started = time.monotonic()
        if started > self._stock.sure_until:
            if self._stock.lost(job):
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
        self._stock.begun(run)
        current_context.set(context)
        current_console.set(console)
        options: dict[str, Any] = {}
        limit: float | None = None
        try:
            if job.options is not None:
                options = msgspec.json.decode(job.options)
                if "overlap" in options:
                    self._stock.awaited.add((job.id, job.claim))
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
                    if getpid() != self._process:
                        leave(sys.exception())
        except BaseException as error:
            # All of them: a job that calls sys.exit has failed, and the worker goes on.
            end = self._end(run, console, options, limit, error, None)
        else:
            end = self._end(run, console, options, limit, None, returned)
        # Handed over before it counts as ended: a server that stops waits for those that run.
        if isinstance(end, Success):
            self._completer.succeeded(end)
        else:
            self._completer.set_back(end)
        self._stock.ended(run)
        self._stock.finished(started, end.finished)

    def _end(
        self,
        run: Run,
        console: Console,
        options: dict[str, Any],
        limit: float | None,
        error: BaseException | None,
        returned: Any,
    ) -> Success | Setback:
        finished = time.monotonic()
        late = limit is not None and finished >= limit
        failure = failure_of(run.context, error, late=late)
        if failure is not None:
            return self._setback(run.job, options, run.started, finished, *failure)
        result = None
        if returned is not None:
            try:
                result = encode_result(returned)
            except ValueError as refused:
                console.write(f"The result was not kept: {refused}", "yellow", "WARNING")
        job = run.job
        return Success(job.id, job.claim, run.started, finished, result, job.task, job.waited)

    def _setback(
        self,
        job: Claimed,
        options: dict[str, Any],
        started: float,
        finished: float,
        outcome: Outcome,
        error: BaseException,
    ) -> Setback:
        retry_in = None
        if outcome is Outcome.FAILED:
            retry = self._retry(job, options)
            if job.attempt <= retry.attempts:
                retry_in = retry.delay(job.attempt, chance)
        # One that stopped as it was asked to has said all by that.
        odd = outcome is Outcome.FAILED or not isinstance(error, JobCancelled)
        if odd:
            logger.warning(
                "Job %d (%s), attempt %d: %s%s",
                job.id,
                job.task,
                job.attempt,
                storable(f"{type(error).__name__}: {_message(error)}", 300),
                "" if retry_in is None else f". Next attempt in {retry_in:.0f} s.",
            )
        return setback(
            job,
            outcome,
            started,
            finished=finished,
            kind=type(error).__name__,
            message=_message(error),
            trace=_trace(error) if odd else None,
            retry_in=retry_in,
        )

    def _retry(self, job: Claimed, options: dict[str, Any]) -> RetryPolicy:
        if "retry" in options:
            try:
                return RetryPolicy.from_json(options["retry"])
            except ConfigurationError as error:
                logger.error("Job %d: %s. The task's own policy counts.", job.id, error)
        task = self._workload.tasks.get(job.task)
        return RetryPolicy() if task is None else task.defaults.retry


def setback(
    job: Claimed,
    outcome: Outcome,
    started: float,
    *,
    finished: float | None = None,
    kind: str,
    message: str,
    trace: str | None = None,
    retry_in: float | None = None,
) -> Setback:
    """The end of a run that did not succeed; now, unless ``finished`` says when."""
    return Setback(
        id=job.id,
        claim=job.claim,
        attempt=job.attempt,
        outcome=outcome,
        started=started,
        finished=time.monotonic() if finished is None else finished,
        retry_in=retry_in,
        error_type=storable(kind, 200),
        message=storable(message, LONGEST_MESSAGE),
        traceback=trace,
        task=job.task,
        waited=job.waited,
        queue=job.queue,
        priority=job.priority,
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # somebody's __str__ may raise
        return f"(its message can't be shown: {type(broken).__name__})"


def _trace(error: BaseException) -> str:
    # Without the frame of this module: it says nothing about the job.
    inner = error.__traceback__.tb_next if error.__traceback__ is not None else None
    try:
        text = "".join(traceback.format_exception(type(error), error, inner))
    except BaseException as broken:
        text = f"(the traceback can't be shown: {type(broken).__name__})"
    if len(text) > LONGEST_TRACEBACK:
        half = LONGEST_TRACEBACK // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
    return storable(text)
