"""What the decorators of a scheduler take, and what becomes of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from flask import has_request_context

from .._checks import refuse_unknown, validate_id
from .._recurring.definition import Definition
from .._recurring.options import RecurringOptions, checked
from .._recurring.schedule import Schedule
from .._run.context import JobContext, current_context
from ..errors import ConfigurationError
from ..task import Task, TaskOptions

P = ParamSpec("P")
R = TypeVar("R")


class Decorator(Protocol):
    """Makes a task of a function. The context is no part of what its callers pass."""

    @overload
    def __call__(self, function: Task[P, R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[JobContext, P], R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class Declaration:
    """What a decorator or ``add_or_update`` was given for one recurring job.

    :param what: what was called, for the message about an option that it doesn't have.
    :param others: names of options that it has besides.
    :raises ConfigurationError: an option is wrong or unknown; the message names it.
    """

    def __init__(
        self,
        what: str,
        id: str,
        cron: str | None,
        every: timedelta | None,
        given: RecurringOptions,
        others: Iterable[str],
    ) -> None:
        refuse_unknown(what, given, [*RecurringOptions.__annotations__, *others])
        self._id = validate_id(id, "recurring job id")
        options: dict[str, Any] = {**given}
        self._args = options.pop("args", ())
        self._kwargs = options.pop("kwargs", None) or {}
        allow_never = options.pop("allow_never", False)
        for name in ("queue", "priority"):
            if options.get(name) is None:
                options.pop(name, None)
        schedule = Schedule.of(
            cron,
            every,
            **{name: options[name] for name in ("timezone", "start", "end") if name in options},
            allow_never=allow_never,
        )
        self._fields = {"cron": schedule.cron} | checked(options)
        self._options = options

    def defaults(self) -> TaskOptions:
        """The options of the task, where a function is made one by this."""
        given = self._options
        return TaskOptions(**{name: given[name] for name in TaskOptions.__slots__ if name in given})

    def of(self, task: Task[..., Any]) -> Definition:
        """The recurring job of a task. Where nothing is said of an option, the task's counts."""
        own = {
            "task": task.name,
            "arguments": task.signature.pack(self._args, self._kwargs),
            "queue": task.defaults.queue,
            "priority": task.defaults.priority,
        }
        return Definition.of(self._id, own, self._fields)


def refuse_bare(decorator: str, given: object, example: str) -> None:
    """Refuse a decorator that stands on a function without its parentheses."""
    if callable(given) or isinstance(given, (staticmethod, classmethod)):
        raise ConfigurationError(
            f"write @scheduler.{decorator}({example}) with its parentheses, not without"
        )


def warn_if_passing(task: Task[..., Any], stacklevel: int) -> None:
    """Warn of a task that is made while a request or a job is handled.

    Other processes don't know it until they have handled the like, and none knows it after a
    restart: its jobs may wait for ever. A task that is made within a function is no such case by
    itself, since ``create_app`` is one, and runs in every process.
    """
    if has_request_context():
        handled = "request"
    elif current_context.get(None) is not None:
        handled = "job"
    else:
        return
    warnings.warn(
        f"the task {task.name!r} is made while a {handled} is handled, so processes that have not "
        f"handled such a {handled} don't know it and don't run its jobs: make it, or import the "
        "module that makes it, when the application is made",
        stacklevel=stacklevel + 1,
    )


def made_anew(old: Task[..., Any], new: Task[..., Any]) -> bool:
    """True if the same code has run once more: a module reloaded, an application made again."""
    return old is not new and _origin(old.function) == _origin(new.function)


def _origin(function: Callable[..., Any]) -> tuple[str, str]:
    """Where a function was written: the same after its module was loaded once more."""
    return getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
