"""A task: a function that the database knows by name.

A ``Task`` can still be called like the function it was made from. ``enqueue`` and ``schedule`` have
the function's own signature, so a type checker sees a wrong call before it is made.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial, update_wrapper
from pathlib import Path
from types import CoroutineType
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    NamedTuple,
    Never,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
)

from ._arguments import Signature
from ._checks import (
    checked_priority,
    checked_timeout,
    in_words,
    refuse_unknown,
    validate_id,
    validate_queue,
)
from ._recurring.options import checked, job_json
from ._run.child import without_children
from ._run.context import JobContext, current_context, terminal_context
from ._store import NewJob
from .errors import ConfigurationError
from .job import Job
from .retry import Retry, RetryPolicy

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, scoped_session

    SomeSession = Session | scoped_session[Any]

P = ParamSpec("P")
R = TypeVar("R")

LONGEST_WAIT = timedelta(days=36_500)
"""The longest wait that ``schedule`` takes as a timedelta."""


class Client(Protocol):
    """What a task asks of its scheduler."""

    def write(self, job: NewJob, session: SomeSession | None) -> Job:
        """Write one job."""


class TaskOptions:
    """How a task's jobs are run, unless a call says otherwise.

    ``timeout`` is in seconds: a run that takes longer is asked to stop, and has failed even if it
    doesn't.

    :raises ConfigurationError: an option is wrong; the message names it.
    """

    __slots__ = ("priority", "queue", "retry", "timeout")

    def __init__(
        self,
        *,
        queue: str = "default",
        priority: int = 0,
        retry: Retry = None,
        timeout: timedelta | float | None = None,
    ) -> None:
        self.queue = validate_queue(queue)
        self.priority = checked_priority(priority)
        self.retry = RetryPolicy.of(retry)
        self.timeout = checked_timeout(timeout)


class Call(NamedTuple):
    """A task with arguments, not yet enqueued: what ``enqueue_many`` takes."""

    new: NewJob


class Task(Generic[P, R]):
    """A registered function. Made by ``Scheduler.task`` and ``Scheduler.recurring``."""

    def __init__(
        self,
        function: Callable[..., R],
        client: Client,
        *,
        name: str | None = None,
        defaults: TaskOptions | None = None,
    ) -> None:
        if not callable(function) or isinstance(function, type):
            raise ConfigurationError(f"a task is made from a function, not from {function!r}")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(
                f"a task can't be made from the generator {function!r}: a run would only make the "
                "generator, and none of its code would run"
            )
        _refuse_method(function)
        # First, lest an attribute that the function has replaces one of the task's.
        update_wrapper(self, function)
        self.function = function
        self.name = validate_id(name) if name is not None else default_name(function)
        self.defaults = defaults or TaskOptions()
        self.signature = Signature(function, JobContext, name=self.name)
        self.signature.check()
        self._client = client
        # Made once: a call in a bulk of a hundred thousand should cost its arguments and no more.
        self._plain: BoundTask[P, R] = self.options()

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function, here and now.

        If it wants a context and none is given, it gets the one of the run this is called in, or
        one that prints to the terminal.
        """
        given: tuple[Any, Any] = (args, kwargs)
        if self.signature.context_parameter is not None and not self.signature.has_context(*given):
            context = current_context.get(None) or terminal_context(self.name)
            given = self.signature.with_context(args, kwargs, context)
        return self.function(*given[0], **given[1])

    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        """Run the task in the background as soon as a worker is free.

        Raises ``ArgumentError`` if the arguments don't fit the function or can't travel, and
        ``StoreUnavailable`` if the database can't be reached.
        """
        return self._plain.enqueue(*args, **kwargs)

    def schedule(self, when: timedelta | datetime, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        """Run the task at a time to come: after a timedelta, or at an aware datetime."""
        return self._plain.schedule(when, *args, **kwargs)

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Call:
        """The call as a value, for ``Scheduler.enqueue_many``."""
        return self._plain.call(*args, **kwargs)

    def options(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        key: str | None = None,
        key_kept: bool = False,
        retry: Retry = None,
        timeout: timedelta | float | None = None,
        session: SomeSession | None = None,
        **unknown: Never,
    ) -> BoundTask[P, R]:
        """The task with other options, for one call or a few.

        :param key: names the job. While a job with this key is not finished, enqueuing gives that
            one, and ``job.new`` is False.
        :param key_kept: let a finished job with this key count too, for as long as it is kept: so
            there is one job with the key until the retention deletes it.
        :param session: enqueue within this session's transaction: the job exists if, and only if,
            it commits.
        """
        if unknown:
            refuse_unknown("task.options", unknown, Task.options.__kwdefaults__ or ())
        if key_kept and key is None:
            raise ConfigurationError("key_kept=True says how long a key counts: give key= as well")
        defaults = self.defaults
        options = None
        if retry is not None or timeout is not None:
            options = job_json(checked({"retry": retry, "timeout": timeout}))
        new_job = partial(
            NewJob,
            self.name,
            queue=defaults.queue if queue is None else validate_queue(queue),
            priority=defaults.priority if priority is None else checked_priority(priority),
            key=None if key is None else validate_id(key, "key"),
            key_kept=bool(key_kept),
            options=options,
        )
        return BoundTask(self, new_job, session)

    def run(self, context: JobContext, args: Any, kwargs: Any) -> R:
        """Call the function as a job: with its context, and to the end if it is a coroutine."""
        args, kwargs = self.signature.with_context(args, kwargs, context)
        outcome: Any = self.function(*args, **kwargs)
        # Asked of what came back: a decorator between may hide what kind of function it is.
        if isinstance(outcome, CoroutineType):
            with asyncio.Runner() as runner:
                outcome = runner.run(without_children(outcome))
        return cast(R, outcome)

    def __get__(self, instance: object, owner: type | None = None) -> Task[P, R]:
        return self

    def __repr__(self) -> str:
        return f"<Task {self.name}>"


class BoundTask(Generic[P, R]):
    """A task with options for one call, or a few. Made by ``task.options(…)``."""

    def __init__(
        self, task: Task[P, R], new_job: Callable[..., NewJob], session: SomeSession | None
    ) -> None:
        self._task = task
        self._new_job = new_job
        self._session = session

    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        """See ``Task.enqueue``."""
        return self._task._client.write(self._new(args, kwargs), self._session)

    def schedule(self, when: timedelta | datetime, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        """See ``Task.schedule``."""
        new = self._new(args, kwargs)._replace(**_start(when))
        return self._task._client.write(new, self._session)

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Call:
        """See ``Task.call``."""
        if self._session is not None:
            raise ConfigurationError("give the session to enqueue_many, not to each of its calls")
        return Call(self._new(args, kwargs))

    def _new(self, args: Any, kwargs: Any) -> NewJob:
        return self._new_job(self._task.signature.pack(args, kwargs))


def _start(when: timedelta | datetime) -> dict[str, Any]:
    """``when`` as fields of a new job. Raises ``ConfigurationError`` for a naive time."""
    if isinstance(when, timedelta):
        if when > LONGEST_WAIT:
            raise ConfigurationError(
                f"schedule takes a timedelta of up to {in_words(LONGEST_WAIT)}, not {when!r}"
            )
        return {"delay": max(0.0, when.total_seconds())}
    if not isinstance(when, datetime):
        seconds = isinstance(when, (int, float)) and not isinstance(when, bool)
        raise ConfigurationError(
            f"schedule takes a timedelta or an aware datetime, not {when!r}"
            + (f". Seconds? Write timedelta(seconds={when!r})" if seconds else "")
        )
    if when.tzinfo is None:
        raise ConfigurationError(
            f"schedule takes an aware datetime, and {when!r} has no zone; "
            "write for example datetime.now(UTC) + timedelta(hours=1)"
        )
    return {"run_at": when}


def _refuse_method(function: Callable[..., Any]) -> None:
    """A job has arguments, and no object to call a method of."""
    name = getattr(function, "__qualname__", repr(function))
    right = (
        "make it a function of the module, or a @staticmethod with the decorator above it, and "
        "give the key of a stored object as an argument"
    )
    if inspect.ismethod(function):
        if not inspect.isclass(function.__self__):
            raise ConfigurationError(
                f"{name}() is a method, whose object can't travel to the process that runs the "
                f"job: {right}"
            )
        return
    within, _, _ = name.rpartition(".")
    code = getattr(inspect.unwrap(function), "__code__", None)
    first = code.co_varnames[0] if code is not None and code.co_argcount else None
    if within and not within.endswith("<locals>") and first in ("self", "cls"):
        raise ConfigurationError(
            f"{name}() is a method, and a run has nothing to give for its {first!r}: {right}"
        )


def default_name(function: Callable[..., Any]) -> str:
    """``module.function``. A module that was started as a script goes by its file's name.

    Raises ``ConfigurationError`` for something callable that has no name of its own.
    """
    if getattr(function, "__name__", "<lambda>") == "<lambda>":
        raise ConfigurationError(f"{function!r} has no name of its own: give the task a name")
    module = function.__module__
    if module == "__main__":
        file = getattr(sys.modules["__main__"], "__file__", None)
        module = Path(file).stem if file else module
    return validate_id(f"{module}.{function.__qualname__}")
