"""A worker: takes one job after the other, and sees each of them to its end."""

from __future__ import annotations

from contextvars import Context

from .._store.claim import Claimed
from .prefetch_buffer import PrefetchBuffer
from .runner import Runner


class Worker:
    """What one thread does. Whatever happens around a run, its job ends and the next one comes."""

    def __init__(self, buffer: PrefetchBuffer, runner: Runner) -> None:
        self._buffer = buffer
        self._runner = runner
        self._job: Claimed | None = None
        """The last one taken, which may be completed already."""

    def work(self) -> None:
        """Run jobs until the buffer says that it is over."""
        self.clear()
        while (job := self._buffer.take()) is not None:
            self._job = job
            try:
                # What a job puts into context variables is gone with it.
                Context().run(self._runner.run, job)
            except BaseException as error:
                self._runner.fail(job, error)

    def clear(self) -> None:
        """End the run that was interrupted when the thread was, if one was."""
        if self._job is not None:
            self._runner.fail(self._job, RuntimeError("the thread that ran it broke off"))
