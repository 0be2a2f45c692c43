"""Runs a job and says how that ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from functools import partial
from typing import Any

import msgspec

from .._arguments import encode_result
from .._run.child import Forks, leave
from .._run.console import Console, current_console
from .._run.context import FindPrevious, JobContext, current_context
from .._run.middleware import compose
from .._store.claim import Claimed
from .._store.completion import Failure, Success
from ..task import Task
from .completer import Completer
from .failure import Failures
from .outcome import failure_of
from .prefetch_buffer import PrefetchBuffer, Run
from .report import Report
from .workload import Workload


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
        self._tasks = workload.tasks
        self._around = compose(workload.middlewares)
        self._failures = Failures(workload.tasks)
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
            task = self._tasks[job.task]
            timeout = options.get("timeout", task.defaults.timeout)
            if timeout is not None:
                limit = started + timeout
                self._time_limit_set(context, limit)
            args, kwargs = task.signature.unpack(job.arguments)
            returned = self._around(context, partial(self._call, task, context, args, kwargs))
        except BaseException as error:
            # All of them: a job that calls sys.exit has failed, and the worker goes on.
            end = self._end(run, console, options, limit, error, None)
        else:
            if returned is None and limit is None and context.stop_reason is None:
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
        run = self._buffer.running.get(job.id)
        started = time.monotonic() if run is None else run.started
        self._completer.fail(self._failures.of_broken_run(job, started, error))
        self._buffer.drop(job)

    def _call(self, task: Task[..., Any], context: JobContext, args: Any, kwargs: Any) -> Any:
        """Call the function. A child that it forks ends here: what follows is its parent's."""
        try:
            returned = task.run(context, args, kwargs)
        except BaseException as error:
            if Forks.count != self._forks:
                leave(error)
            raise
        if Forks.count != self._forks:
            leave(None)
        return returned

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
            return self._failures.of_run(run, console, options, finished, *failure)
        result = None
        if returned is not None:
            try:
                result = encode_result(returned)
            except Exception as refused:
                reason = Report.of(refused).message
                console.write(f"The result was not kept: {reason}", "yellow", "WARNING")
        job = run.job
        return Success(job.id, job.claim, run.started, finished, result, job.task, job.waited)
