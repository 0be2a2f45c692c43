"""What the decorators of a scheduler take, and what becomes of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload
from zoneinfo import ZoneInfo

from flask import has_request_context

from .._checks import checked_priority, checked_timeout, refuse_unknown, validate_queue
from .._recurring.definition import Definition
from .._recurring.policy import Policies, Policy
from .._recurring.schedule import Schedule
from .._run.context import JobContext, current_context
from ..errors import ConfigurationError
from ..retry import Retry, RetryPolicy
from ..task import CallOptions, Task

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


class RecurringOptions(Policies, total=False):
    """Options of ``Scheduler.recurring`` and ``add_or_update``; the former explains them."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any] | None
    timezone: str | ZoneInfo
    start: datetime | None
    end: datetime | None
    allow_never: bool
    queue: str | None
    priority: int | None
    retry: Retry
    timeout: timedelta | float | None


def definition_of(
    task: Task[..., Any],
    id: str,
    schedule: Schedule,
    policy: Policy,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    queue: str | None,
    priority: int | None,
    retry: Retry,
    timeout: timedelta | float | None,
) -> Definition:
    """The definition that a task makes with what it was given for one recurring job."""
    options = CallOptions(
        queue=task.defaults.queue if queue is None else validate_queue(queue),
        priority=task.defaults.priority if priority is None else checked_priority(priority),
        retry=None if retry is None else RetryPolicy.of(retry),
        timeout=checked_timeout(timeout),
    )
    return Definition(
        id=id,
        task=task.name,
        arguments=task.signature.pack(args, kwargs),
        queue=options.queue,
        priority=options.priority,
        cron=schedule.cron,
        timezone=schedule.timezone,
        start=schedule.start,
        end=schedule.end,
        options=options.encoded(),
        policy=policy,
    )


def policy_of(what: str, policies: Mapping[str, Any], others: Iterable[str] = ()) -> Policy:
    """The policies among the options of a call.

    :param what: what was called, for the message about an option that it doesn't have.
    :param others: names of options that it has besides.
    """
    known = [*RecurringOptions.__annotations__, *Policies.__annotations__, *others]
    refuse_unknown(what, policies, dict.fromkeys(known))
    return Policy.of(**policies)


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
    """Whether the same code was run once more: a module reloaded, an application made again."""
    return old is not new and _origin(old.function) == _origin(new.function)


def _origin(function: Callable[..., Any]) -> tuple[str, str]:
    """Where a function was written: the same after its module was loaded once more."""
    return getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
