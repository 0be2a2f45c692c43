"""The options of a recurring job, one entry for each.

The decorator, ``add_or_update``, ``override``, the row, its JSON and the dashboard's form all go by
these entries. What a user gives is checked and becomes a JSON value. The columns ``declared`` and
``overrides`` of a row keep such values by the names of the options. What counts of the two stands
in a column of its own besides, so that statements can read it.

A new option is an entry in ``OPTIONS`` with its column, a line in a ``TypedDict`` below for type
checkers, an attribute of ``RecurringJob``, and its words in ``_dashboard.form_input``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypedDict
from zoneinfo import ZoneInfo

import msgspec

from .._checks import (
    checked_choice,
    checked_count,
    checked_flag,
    checked_priority,
    checked_timeout,
    read_seconds,
    validate_queue,
)
from ..errors import ConfigurationError
from ..retry import Retry, RetryPolicy
from .interval import Interval
from .policy import HANGFIRE, Misfire, MisfireWord, Overlap, OverlapWord
from .schedule import Schedule, checked_bound, checked_zone

LONGEST_JITTER = 86_400.0
LONGEST_GRACE = 366 * 86_400.0
MOST_MISSED = 10_000
MOST_KEPT = 1_000_000

JOB = "options"
"""The column whose JSON holds the options that each job has a copy of: ``retry`` and ``timeout``.
What the task says counts where they are left out."""


class Kind(enum.StrEnum):
    """What the JSON value of an option is."""

    TEXT = "text"
    FLAG = "flag"
    CHOICE = "choice"
    """A word; in Python a member of the enum ``Option.choices``."""
    COUNT = "count"
    LENGTH = "length"
    """Seconds; in ``RecurringJob`` a timedelta."""
    INSTANT = "instant"
    """ISO text in UTC; in Python and in the row an aware datetime."""
    RETRY = "retry"
    """The text of ``RetryPolicy.to_json``."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    :param convert: makes the JSON value of what a user gives. Raises ``ConfigurationError``.
    :param default: the JSON value that counts where none is kept.
    :param optional: True if a user may give None for the default.
    :param always: True if the JSON holds the default too.
    :param column: where the value that counts stands in the row; by default a column of its name.
    """

    name: str
    convert: Callable[[Any], Any]
    kind: Kind = Kind.TEXT
    default: Any = None
    optional: bool = False
    always: bool = False
    column: str = ""
    choices: type[enum.StrEnum] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "column", self.column or self.name)

    def check(self, given: Any) -> Any:
        """The JSON value of what a user gives. Raises ``ConfigurationError`` naming the option."""
        return self.default if given is None and self.optional else self.convert(given)

    def known(self, value: Any) -> Any:
        """A kept value; the default for none, and for a word that only a newer version knows."""
        if value is None or (self.choices is not None and value not in list(self.choices)):
            return self.default
        return value

    def stored(self, value: Any) -> Any:
        """The value that the column keeps for a JSON value."""
        return instant(value) if self.kind is Kind.INSTANT else value

    def read(self, stored: Any) -> Any:
        """The attribute of ``RecurringJob`` for what the column keeps."""
        value = self.known(stored)
        if self.choices is not None:
            return self.choices(value)
        return timedelta(seconds=value) if self.kind is Kind.LENGTH else value


def instant(text: str | None) -> datetime | None:
    """The time that a JSON value of the kind ``INSTANT`` means."""
    return None if text is None else datetime.fromisoformat(text)


def _retry(given: Retry) -> str:
    return RetryPolicy.of(given).to_json()


def _bound(name: str) -> Option:
    def convert(given: Any) -> str:
        return checked_bound(name, given).isoformat()

    return Option(name, convert, Kind.INSTANT, optional=True, column=f"{name}_at")


def _choice(name: str, choices: type[enum.StrEnum], default: str, **also: enum.StrEnum) -> Option:
    convert = partial(checked_choice, name, choices, also)
    return Option(name, convert, Kind.CHOICE, default, choices=choices)


def _count(name: str, most: int, default: int | None) -> Option:
    convert = partial(checked_count, name, most)
    return Option(name, convert, Kind.COUNT, default, optional=default is None)


def _length(name: str, longest: float, default: float) -> Option:
    convert = partial(read_seconds, name, longest)
    return Option(name, convert, Kind.LENGTH, default, optional=default == 0)


_ENTRIES = (
    Option("queue", validate_queue, always=True),
    Option("priority", checked_priority, Kind.COUNT, always=True),
    Option("cron", lambda given: Schedule.of(given).cron, always=True),
    Option("timezone", checked_zone, default="UTC", always=True),
    Option("retry", _retry, Kind.RETRY, optional=True, column=JOB),
    Option("timeout", checked_timeout, Kind.LENGTH, optional=True, column=JOB),
    _bound("start"),
    _bound("end"),
    _choice("misfire", Misfire, "latest", **HANGFIRE),
    _count("misfire_limit", MOST_MISSED, 100),
    _length("misfire_grace", LONGEST_GRACE, 30.0),
    _choice("overlap", Overlap, "allow"),
    _length("jitter", LONGEST_JITTER, 0.0),
    _count("keep", MOST_KEPT, None),
)

OPTIONS = {option.name: option for option in _ENTRIES}
"""What a definition says, in the order of its JSON text, which must not change."""

JOB_OPTIONS = tuple(name for name, option in OPTIONS.items() if option.column == JOB)

EVERY = Option("cron", lambda given: str(Interval(given)))
"""``every=timedelta(…)``, which is another way to give ``cron``."""

PAUSED = Option("paused", partial(checked_flag, "paused"), Kind.FLAG, default=False)

OVERRIDABLE = {"cron": OPTIONS["cron"], "every": EVERY} | OPTIONS | {"paused": PAUSED}
"""What ``override`` takes, by the names that it goes by there."""


def job_json(values: Mapping[str, Any]) -> str | None:
    """What the column ``options`` keeps of JSON values; None for nothing."""
    kept = {name: values[name] for name in JOB_OPTIONS if values.get(name) is not None}
    return msgspec.json.encode(kept).decode() if kept else None


class _Options(TypedDict, total=False):
    """What all calls take."""

    timezone: str | ZoneInfo
    """The zone that the expression is meant in, its IANA name or a ``ZoneInfo``; UTC by default."""
    start: datetime | None
    """Nothing is due before; aware."""
    end: datetime | None
    """Nothing is due after; aware."""
    retry: Retry
    """How often a failed run is tried again; None leaves it to the task."""
    timeout: timedelta | float | None
    """Seconds or a timedelta after which a run is asked to stop; None leaves it to the task."""
    misfire: Misfire | MisfireWord
    """``"latest"`` (default), ``"all"`` or ``"skip"``; see :class:`Misfire`."""
    misfire_limit: int
    """How many missed ticks get a run of their own at most; 100 by default."""
    misfire_grace: timedelta | float
    """By how much a tick may be late under ``"skip"``; 30 seconds by default."""
    overlap: Overlap | OverlapWord
    """``"allow"`` (default), ``"skip"``, ``"queue"`` or ``"cancel"``; see :class:`Overlap`."""
    jitter: timedelta | float | None
    """Starts are spread over so much time after the tick; none by default."""
    keep: int | None
    """How many finished runs are kept, whatever the retention; None leaves it to the retention."""


class RecurringOptions(_Options, total=False):
    """Options of ``Scheduler.recurring`` and ``add_or_update`` beside ``cron`` and ``every``."""

    args: Sequence[Any]
    """What the task is called with."""
    kwargs: Mapping[str, Any] | None
    """What the task is called with by name."""
    queue: str | None
    """Where its jobs wait; None leaves it to the task."""
    priority: int | None
    """Smaller runs first, within a queue; None leaves it to the task."""
    allow_never: bool
    """Take a schedule that is never due."""


class Overrides(_Options, total=False):
    """Options of ``Scheduler.override``: what is left out stays as it is."""

    cron: str
    every: timedelta
    queue: str
    priority: int
    paused: bool


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON values that keep these options. Raises ``ConfigurationError`` naming what is wrong.

    :param given: options by names that :data:`OVERRIDABLE` has.
    """
    if {"cron", "every"} <= given.keys():
        raise ConfigurationError("override takes cron or every, not both")
    values = {}
    for name, value in given.items():
        option = overridable(name)
        values[option.name] = option.check(value)
    return values


def kept_names(names: Iterable[str]) -> frozenset[str]:
    """The names under which the values of these options are kept."""
    if isinstance(names, str):
        raise ConfigurationError(f"reset takes a list of options such as [{names!r}]")
    return frozenset(overridable(name).name for name in names)


def overridable(name: str) -> Option:
    """The option with this name. Raises ``ConfigurationError`` if it can't be overridden."""
    if name not in OVERRIDABLE:
        raise ConfigurationError(
            f"{name!r} can't be overridden; right are {', '.join(OVERRIDABLE)}"
        )
    return OVERRIDABLE[name]
