"""Which days of a month an expression means.

Every rule (``1,15``, ``LW``, ``FRI#2`` …) depends on two things only: how long the month is and on
which weekday it begins. There are four lengths and seven weekdays, so 28 shapes of month; a rule
answers once for each shape, and the search through years is a look into a table of 28 entries.

Weekdays are numbered as in cron: Sunday is 0.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from .bitset import set_of
from .field import DAYS_OF_MONTH, DAYS_OF_WEEK, FieldError


class MonthShape(NamedTuple):
    """Length of a month in days and the weekday of its first day."""

    length: int
    begins: int

    def weekday(self, day: int) -> int:
        """The weekday of a day of the month."""
        return (self.begins + day - 1) % 7

    def nearest_working_day(self, day: int) -> int:
        """The day from Monday to Friday that is nearest, without leaving the month."""
        match self.weekday(day):
            case 6:
                return day - 1 if day > 1 else day + 2
            case 0:
                return day + 1 if day < self.length else day - 2
            case _:
                return day


_EACH_WEEK = set_of(range(0, 42, 7))

SHAPES = tuple(MonthShape(length, begins) for length in (28, 29, 30, 31) for begins in range(7))


@lru_cache(maxsize=2048)
def shape_index(year: int, month: int) -> int:
    """Where the shape of this month stands in SHAPES."""
    length = calendar.monthrange(year, month)[1]
    return (length - 28) * 7 + date(year, month, 1).isoweekday() % 7


def shapes_of(month: int) -> tuple[MonthShape, ...]:
    """The shapes that a month (1 to 12) has in one year or another."""
    lengths = {calendar.monthrange(year, month)[1] for year in (2000, 2001)}
    return tuple(shape for shape in SHAPES if shape.length in lengths)


@dataclass(frozen=True, slots=True)
class ListedDays:
    """``1,15``: days of the month by number."""

    days: int

    def in_month(self, shape: MonthShape) -> int:
        return self.days & (2 << shape.length) - 1


@dataclass(frozen=True, slots=True)
class DayBeforeLast:
    """``L`` and ``L-3``: counted back from the last day of the month, which is 0."""

    back: int

    def in_month(self, shape: MonthShape) -> int:
        day = shape.length - self.back
        return 1 << day if day > 0 else 0


@dataclass(frozen=True, slots=True)
class WorkingDayNearest:
    """``15W``: the day from Monday to Friday nearest to a day of the month."""

    day: int

    def in_month(self, shape: MonthShape) -> int:
        if self.day > shape.length:
            return 0
        return 1 << shape.nearest_working_day(self.day)


@dataclass(frozen=True, slots=True)
class WorkingDayNearestLast:
    """``LW`` and ``L-3W``: the day from Monday to Friday nearest to a day counted from the end."""

    back: int

    def in_month(self, shape: MonthShape) -> int:
        day = shape.length - self.back
        return 1 << shape.nearest_working_day(day) if day > 0 else 0


@dataclass(frozen=True, slots=True)
class ListedWeekdays:
    """``MON-FRI``: days by weekday."""

    weekdays: int

    def in_month(self, shape: MonthShape) -> int:
        return self.weekdays * _EACH_WEEK >> shape.begins << 1 & (2 << shape.length) - 1


@dataclass(frozen=True, slots=True)
class NthWeekday:
    """``FRI#2``: the n-th such weekday of the month."""

    weekday: int
    nth: int

    def in_month(self, shape: MonthShape) -> int:
        day = 1 + (self.weekday - shape.begins) % 7 + 7 * (self.nth - 1)
        return 1 << day if day <= shape.length else 0


@dataclass(frozen=True, slots=True)
class LastWeekday:
    """``5L``: the last such weekday of the month."""

    weekday: int

    def in_month(self, shape: MonthShape) -> int:
        return 1 << shape.length - (shape.weekday(shape.length) - self.weekday) % 7


DayOfMonthRule = ListedDays | DayBeforeLast | WorkingDayNearest | WorkingDayNearestLast
DayOfWeekRule = ListedWeekdays | NthWeekday | LastWeekday

EVERY_DAY = ListedDays(set_of(range(1, 32)))
EVERY_WEEKDAY = ListedWeekdays(set_of(range(7)))

_LAST_DAY = re.compile(r"[Ll](?:-([0-9]{1,2}))?([Ww]?)")
_NEAREST = re.compile(r"([0-9]{1,2})[Ww]")
_LAST_WEEKDAY = re.compile(r"([0-9]{1,2}|[A-Za-z]{3})[Ll]")
_NTH_WEEKDAY = re.compile(r"([0-9]{1,2}|[A-Za-z]{3})#([0-9]{1,2})")


def parse_day_of_month(text: str) -> DayOfMonthRule:
    """Read the field of the days of month. Raises FieldError."""
    if match := _LAST_DAY.fullmatch(text):
        back = int(match[1] or 0)
        if back > 30:
            raise FieldError(f"{text!r} must count back by a number between 0 and 30")
        return WorkingDayNearestLast(back) if match[2] else DayBeforeLast(back)
    if match := _NEAREST.fullmatch(text):
        return WorkingDayNearest(DAYS_OF_MONTH.value(match[1]))
    return ListedDays(DAYS_OF_MONTH.parse(text))


def parse_day_of_week(text: str) -> DayOfWeekRule:
    """Read the field of the days of week. Raises FieldError."""
    if match := _LAST_WEEKDAY.fullmatch(text):
        return LastWeekday(DAYS_OF_WEEK.value(match[1]) % 7)
    if match := _NTH_WEEKDAY.fullmatch(text):
        weekday, nth = DAYS_OF_WEEK.value(match[1]) % 7, int(match[2])
        if not 1 <= nth <= 5:
            raise FieldError(f"in {text!r}, what follows # must be a number between 1 and 5")
        return NthWeekday(weekday, nth)
    bits = DAYS_OF_WEEK.parse(text)
    return ListedWeekdays((bits | bits >> 7) & EVERY_WEEKDAY.weekdays)
