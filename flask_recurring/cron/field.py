"""One field of a cron expression: its name, the numbers it takes, and how its text is read.

A field is ``*`` or ``?``, or a list of numbers (or names) and ranges, each with an optional step:
``*/5``, ``10/5`` (from 10 to the end), ``10-30/5``. A range whose end is the smaller number runs
on past the end of the field: hours ``22-2`` are 22, 23, 0, 1, 2. What only the two fields of days
know (``L``, ``W``, ``#``) is read in ``days``.

The text is checked here, so that each message names the field and what would be right. Then it is
written in the one form that every reader of cron understands alike, numbers and ascending ranges,
and croniter expands that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from croniter import croniter

from .bitset import set_of

_STAR = re.compile(r"[*?](?:/([0-9]+))?")
_VALUE = r"[0-9]{1,2}|[A-Za-z]{3}"
_ITEM = re.compile(rf"({_VALUE})(?:-({_VALUE}))?(?:/([0-9]+))?")


class FieldError(ValueError):
    """The text of one field is wrong; says why, without naming the field."""


@dataclass(frozen=True, slots=True)
class Field:
    """What is the same for every expression about one of its fields."""

    name: str
    position: int
    """Where croniter expects the field; there the seconds come last."""
    first: int
    last: int
    cycle: int
    """After how many numbers the field begins again. Less than its numbers where two of them
    mean the same (weekdays 0 and 7)."""
    names: tuple[str, ...] = ()
    """Three-letter names of the first numbers, in capitals."""
    special: str = ""
    """What this field takes beside numbers, ranges, lists and steps; for messages."""

    @property
    def numbers(self) -> str:
        """The numbers and names that are right, for messages."""
        named = f" or a name {self.names[0]}-{self.names[-1]}" if self.names else ""
        return f"a number between {self.first} and {self.last}{named}"

    def parse(self, text: str) -> int:
        """The numbers that the text stands for, as a bitset. Raises FieldError."""
        star = _STAR.fullmatch(text)
        if star is not None:
            step = self._step(star[1], text)
            return _expanded(self.position, _range(self.first, self.first + self.cycle - 1, step))
        return _expanded(
            self.position, ",".join(self._plain(item, text) for item in text.split(","))
        )

    def value(self, text: str) -> int:
        """The number that a number or name stands for. Raises FieldError."""
        name = text.upper()
        if name in self.names:
            return self.first + self.names.index(name)
        if not text.isdecimal() or not self.first <= int(text) <= self.last:
            raise FieldError(f"{text!r} must be {self.numbers}")
        return int(text)

    def misread(self, text: str) -> FieldError:
        """The error for a text that has not the form of anything this field takes."""
        return FieldError(
            f"{text!r} is none of what this field takes: {self.numbers}, a range such as "
            f"{self.first}-{self.last}, a list of these with commas, any of them with a step such "
            f"as */2, or * alone{self.special}"
        )

    def _plain(self, item: str, text: str) -> str:
        """The item as numbers and ascending ranges, none of them past the end of the cycle."""
        match = _ITEM.fullmatch(item)
        if match is None:
            raise self.misread(text)
        low = self.value(match[1])
        if match[2] is not None:
            high = self.value(match[2])
        else:
            high = low if match[3] is None else self.last
        step = self._step(match[3], item)
        last = self.first + self.cycle - 1
        if low <= high <= last:
            return _range(low, high, step)
        # Past the end of the cycle. Sunday as 7 begins the week as Sunday as 0 does.
        if high < low:
            low = self.first + (low - self.first) % self.cycle
            high = high if low <= high else high + self.cycle
        return ",".join(
            str(self.first + (number - self.first) % self.cycle)
            for number in range(low, high + 1, step)
        )

    def _step(self, step: str | None, item: str) -> int:
        if step is None:
            return 1
        # The length first: a number of hundreds of digits need not be made.
        if len(step) > 2 or not 1 <= int(step) <= self.last:
            raise FieldError(f"the step of {item!r} must be a number between 1 and {self.last}")
        return int(step)


def _range(low: int, high: int, step: int) -> str:
    # A step past the end is none: readers differ about what it means.
    return f"{low}-{high}/{step}" if low + step <= high else str(low)


@lru_cache(maxsize=1024)
def _expanded(position: int, text: str) -> int:
    fields = ["*"] * 6
    fields[position] = text
    numbers = croniter.expand(" ".join(fields))[0][position]
    if numbers == ["*"]:
        first, last = croniter.RANGES[position]
        return set_of(range(first, last + 1))
    return set_of(int(number) for number in numbers)


SECONDS = Field("Seconds", 5, 0, 59, 60)
MINUTES = Field("Minutes", 0, 0, 59, 60)
HOURS = Field("Hours", 1, 0, 23, 24)
DAYS_OF_MONTH = Field(
    "Days of month",
    2,
    1,
    31,
    31,
    special="; or, alone in the field, one of L, L-3, 15W, LW, L-3W",
)
MONTHS = Field(
    "Months",
    3,
    1,
    12,
    12,
    ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
DAYS_OF_WEEK = Field(
    "Days of week",
    4,
    0,
    7,
    7,
    ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
    special="; or, alone in the field, a last weekday such as 5L or an n-th one such as 5#3",
)
