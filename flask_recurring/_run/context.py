"""What a run knows of itself: ``JobContext``, and ``current_job`` that finds it from anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from datetime import datetime
from typing import TypeAlias, TypeVar, cast

from werkzeug.local import LocalProxy

from .._recurring.recurring_job import PreviousRun
from ..errors import JobCancelled
from .console import Console
from .progress import ProgressBar, checked_value, track
from .terminal import Terminal

T = TypeVar("T")

FindPrevious: TypeAlias = Callable[[str, int], PreviousRun | None]
"""Looks the run up that came before: given are the recurring job's id and the present job's."""


class JobContext:
    """Handed to a run through a parameter annotated with this class.

    ``job_id``, ``task``, ``attempt`` (1 for the first), ``queue``, ``recurring_id`` (None for a job
    that was enqueued by itself) and ``due`` (the tick's own time, aware, in UTC; None for a job
    that was triggered by hand) say which run it is.
    """

    __slots__ = (
        "_cancel",
        "_console",
        "_find_previous",
        "_previous",
        "attempt",
        "due",
        "job_id",
        "queue",
        "recurring_id",
        "stop_noticed",
        "stop_reason",
        "task",
    )

    def __init__(
        self,
        *,
        job_id: int,
        task: str,
        attempt: int,
        queue: str,
        console: Console,
        recurring_id: str | None = None,
        due: datetime | None = None,
        find_previous: FindPrevious | None = None,
    ) -> None:
        self.job_id = job_id
        self.task = task
        self.attempt = attempt
        self.queue = queue
        self.recurring_id = recurring_id
        self.due = due
        self._console = console
        self._find_previous = find_previous
        self._previous: PreviousRun | None = None
        self._cancel: threading.Event | None = None
        # For the server, which looks at them without the run having noticed.
        self.stop_reason: str | None = None
        self.stop_noticed = False

    @property
    def previous_run(self) -> PreviousRun | None:
        """The last run of this recurring job that succeeded, before this one; None if there is
        none, and for a job that is no run of a recurring job.

        For work on "everything since". It is looked up when it is first asked for.
        """
        if self.recurring_id is None or self._find_previous is None:
            return self._previous
        self._previous = self._find_previous(self.recurring_id, self.job_id)
        self._find_previous = None
        return self._previous

    def write_line(self, *values: object, color: str | None = None) -> None:
        """Write one line to the job's console, the values parted by spaces as ``print`` does.

        :param color: one of ``flask_recurring.COLORS``; ``ValueError`` for any other.
        """
        self._console.write(" ".join(map(str, values)), color)

    def progress_bar(
        self, name: str = "", value: float = 0.0, color: str | None = None
    ) -> ProgressBar:
        """Begin a progress bar in the job's console, at ``value`` from 0 to 100."""
        value = checked_value(value)
        return ProgressBar(self._console.bar(name, color, value), value)

    def track(
        self, items: Iterable[T], name: str = "", total: int | None = None, color: str | None = None
    ) -> Iterator[T]:
        """Yield the items while a progress bar moves along with them.

        :param total: how many there are, for an iterable that doesn't know its length.
        """
        return track(items, self.progress_bar(name, color=color), total)

    @property
    def cancelled(self) -> bool:
        """True if the run was asked to stop: deleted, past its time limit, or its server stops.

        Stop soon when it is True. A run that noticed that its server stops, and returns, was cut
        short: it runs again elsewhere.
        """
        return self._notice()

    @property
    def cancel_reason(self) -> str | None:
        """Why the run was asked to stop, None if it was not."""
        return self.stop_reason if self._notice() else None

    def raise_if_cancelled(self) -> None:
        """Raise ``JobCancelled`` if the run was asked to stop."""
        if self._notice():
            raise JobCancelled(self.stop_reason)

    def wait(self, seconds: float) -> None:
        """Sleep for so many seconds. Raises ``JobCancelled`` as soon as the run is to stop."""
        self._event().wait(seconds)
        self.raise_if_cancelled()

    def poll(self, seconds: float) -> bool:
        """Sleep like ``wait``, but return instead of raising: True once the run is to stop.

        For runs that have something to put in order before they return.
        """
        self._event().wait(seconds)
        return self._notice()

    def cancel(self, reason: str) -> None:
        """Ask the run to stop. The server calls this; a run ends only by looking at it."""
        if self.stop_reason is None:
            self.stop_reason = reason
        self._event().set()

    def _notice(self) -> bool:
        """True if the run was asked to stop. From now on it knows."""
        if self.stop_reason is None:
            return False
        self.stop_noticed = True
        return True

    def _event(self) -> threading.Event:
        # Made when it is needed: most runs never wait, and an event costs more than the rest.
        if self._cancel is None:
            with _making:
                if self._cancel is None:
                    self._cancel = threading.Event()
                    if self.stop_reason is not None:
                        self._cancel.set()
        return self._cancel

    def __repr__(self) -> str:
        return f"<JobContext {self.task} job {self.job_id}, attempt {self.attempt}>"


_making = threading.Lock()

current_context: ContextVar[JobContext] = ContextVar("flask_recurring_context")

current_job: JobContext = cast(
    JobContext,
    LocalProxy(
        current_context,
        unbound_message="There is no current job: this code does not run inside one.",
    ),
)
"""The context of the run that the present code belongs to. ``RuntimeError`` outside of one."""


def terminal_context(task: str) -> JobContext:
    """A context for calling a task as the plain function: its console is the terminal."""
    console = Console(Terminal(), 0, 0, max_lines=1_000_000, max_bytes=2**30)
    return JobContext(job_id=0, task=task, attempt=1, queue="default", console=console)
