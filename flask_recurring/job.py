"""A job, as one reads it: one run, or run to come, of a task with its arguments.

Plain values without behaviour; the store makes them, the client and the dashboard read them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any


class JobState(enum.StrEnum):
    """The states of a job. Their values are the names that Hangfire's users know."""

    AWAITING = "Awaiting"
    SCHEDULED = "Scheduled"
    ENQUEUED = "Enqueued"
    PROCESSING = "Processing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETED = "Deleted"

    @property
    def finished(self) -> bool:
        """True if a job in this state will not run again by itself."""
        return self in FINISHED


FINISHED = (JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED)
"""The states in which a job will not run again by itself."""


Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class _Stored:
    """Keeps how the arguments of a job are read, until somebody asks for them."""

    __slots__ = ("_arguments",)
    _arguments: Callable[[], Arguments]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(_Stored):
    """One job as it stood when it was read. All times are aware, in UTC.

    ``args`` and ``kwargs`` hold the JSON values as stored; inside the run they come back as the
    function's annotations say.
    """

    id: int
    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue: str
    priority: int
    state: JobState
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    """How many runs were begun; 0 before the first."""
    result: Any
    error: str | None
    """Kind and message of the last failure, on one line; the traceback is in its attempt."""
    recurring_id: str | None
    due: datetime | None
    """The tick that this job answers; None for a job that was triggered by hand."""
    claim: int
    """Fencing token: counts how often the job was taken by a server. Never lowered."""
    server: str | None
    """Name of the server that runs the job, or ran it last."""
    cancel_requested: bool
    """True if the running job was asked to stop."""
    new: bool = field(default=False, compare=False)
    """True if the call that returned it has made it. False if there was a job with the same key
    already, and for a job that was read."""

    def read_later(self, arguments: Callable[[], Arguments]) -> None:
        """For the store: get the arguments from this call when somebody asks for them."""
        object.__setattr__(self, "_arguments", arguments)
        object.__delattr__(self, "args")
        object.__delattr__(self, "kwargs")

    if not TYPE_CHECKING:  # for a type checker it would give a job every attribute

        def __getattr__(self, name: str) -> Any:
            if name not in ("args", "kwargs"):
                message = f"{type(self).__name__!r} object has no attribute {name!r}"
                raise AttributeError(message, name=name, obj=self)
            args, kwargs = self._arguments()
            object.__setattr__(self, "args", args)
            object.__setattr__(self, "kwargs", kwargs)
            return args if name == "args" else kwargs


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a job that ended in anything but success, kept for the job's page."""

    job_id: int
    claim: int
    attempt: int
    outcome: str
    """``Failed``, ``Cancelled``, ``Lost`` (its server died) or ``HandedBack``."""
    started_at: datetime
    finished_at: datetime
    server: str | None
    error_type: str | None
    message: str | None
    traceback: str | None
    retry_at: datetime | None
    """When the next attempt was set to run; None if there was none."""
