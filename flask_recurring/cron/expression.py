"""The cron expression: a text, checked once, that tells when it fires next and reads as English."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

from ..errors import ConfigurationError
from .days import parse_day_of_month, parse_day_of_week
from .field import (
    DAYS_OF_MONTH,
    DAYS_OF_WEEK,
    HOURS,
    MINUTES,
    MONTHS,
    SECONDS,
    Field,
    FieldError,
)
from .matcher import Matcher
from .occurrence import next_occurrence
from .words import describe

MAX_LENGTH = 512
"""Longest text that is read, in characters. All sixty minutes written out take 169."""

_MACROS = {
    "@every_second": "* * * * * *",
    "@every_minute": "* * * * *",
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_FIELDS = (SECONDS, MINUTES, HOURS, DAYS_OF_MONTH, MONTHS, DAYS_OF_WEEK)

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class CronExpression:
    """When a recurring job is due: five fields, six with the seconds first, or a macro.

    Equal when they mean the same: ``*/30 * * * *`` equals ``0,30 * * * *``. Immutable; one
    expression may serve any number of threads.

    >>> CronExpression("*/15 9-17 * * MON-FRI").describe()
    'Every 15 minutes, between 09:00 and 17:59, Monday through Friday'

    Raises :class:`~flask_recurring.errors.ConfigurationError`, a ``ValueError``, when the text is
    wrong; the message names the field, what was given and what would be right.
    """

    text: str = field(compare=False)
    """The expression as it was given."""
    _matcher: Matcher = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_matcher", _parse(self.text))

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[type[CronExpression], tuple[str]]:
        return type(self), (self.text,)

    def next(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        """The first moment that is strictly later than ``after``, as a time of ``zone``.

        None if there is none up to the year 9999. ``after`` must be aware, in any zone; raises
        ConfigurationError if it is not. A time that the clock skips in spring counts at the first
        moment after the gap. A time that comes twice in autumn counts in the first pass, and in
        the second as well if seconds, minutes or hours have a ``*``, a range or a step.
        """
        _check(after, zone)
        return next_occurrence(self._matcher, after, zone)

    def following(self, after: datetime, zone: ZoneInfo, count: int) -> list[datetime]:
        """The next ``count`` moments after ``after``, as :meth:`next` gives them one by one.

        Fewer if there are no more.
        """
        _check(after, zone)
        moments: list[datetime] = []
        while len(moments) < count:
            moment = next_occurrence(self._matcher, after, zone)
            if moment is None:
                break
            moments.append(moment)
            after = moment
        return moments

    def fires(self) -> bool:
        """True if it ever fires. ``0 0 31 2 *``, the 31st of February, is right but never does."""
        return self._matcher.fires

    def describe(self) -> str:
        """The expression in English words, for people. Never raises."""
        return describe(self._matcher)


def _check(after: datetime, zone: ZoneInfo) -> None:
    if not isinstance(after, datetime) or after.utcoffset() is None:
        raise ConfigurationError(f"after must be a datetime with a time zone, not {after!r}")
    if not isinstance(zone, ZoneInfo):
        raise ConfigurationError(
            f"zone must be a ZoneInfo such as ZoneInfo('Europe/Berlin'), not {zone!r}"
        )


def _parse(text: str) -> Matcher:
    if not isinstance(text, str):
        raise ConfigurationError(
            f"A cron expression must be a str such as '*/5 * * * *', not {type(text).__name__}"
        )
    if len(text) > MAX_LENGTH:
        raise ConfigurationError(
            f"A cron expression may have {MAX_LENGTH} characters, not {len(text)}; "
            f"it begins with {text[:40]!r}"
        )
    texts = _texts_of_fields(text)

    def read(which: Field, reader: Callable[[str], _Read]) -> _Read:
        try:
            return reader(texts[which.name])
        except FieldError as error:
            raise ConfigurationError(
                f"Cron expression {text!r}: the field {which.name} is wrong: {error}"
            ) from None

    return Matcher(
        seconds=read(SECONDS, SECONDS.parse),
        minutes=read(MINUTES, MINUTES.parse),
        hours=read(HOURS, HOURS.parse),
        day_of_month=read(DAYS_OF_MONTH, parse_day_of_month),
        months=read(MONTHS, MONTHS.parse),
        day_of_week=read(DAYS_OF_WEEK, parse_day_of_week),
        repeats=any(
            sign in texts[which.name] for which in (SECONDS, MINUTES, HOURS) for sign in "*?-/"
        ),
    )


def _texts_of_fields(text: str) -> dict[str, str]:
    """The text of each of the six fields by the field's name."""
    words = text.split()
    if len(words) == 1 and words[0].startswith("@"):
        macro = words[0].lower()
        # Some letters that are not ASCII have lower-case forms that are.
        if macro not in _MACROS or not words[0].isascii():
            raise ConfigurationError(
                f"Cron expression {text!r}: there is no such macro; there are {', '.join(_MACROS)}"
            )
        words = _MACROS[macro].split()
    names = [which.name for which in _FIELDS]
    if len(words) == 5:
        words.insert(0, "0")
    if len(words) != 6:
        raise ConfigurationError(
            f"Cron expression {text!r} has {len(words)} fields; right are five "
            f"({', '.join(names[1:])}) or six, with {names[0]} first"
        )
    return dict(zip(names, words, strict=True))
