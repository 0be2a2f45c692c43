"""A fixed interval as a schedule: ``every=timedelta(seconds=90)``, kept as the text ``@every 90s``.

Its due times are the multiples of the interval since 1970 in UTC. So they are the same in every
process and after every start, and no change of clocks moves them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from .._checks import in_words
from ..errors import ConfigurationError

PREFIX = "@every"

SHORTEST = timedelta(milliseconds=100)
LONGEST = timedelta(days=3653)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TEXT = re.compile(r"@every\s+([0-9]{1,9})(?:\.([0-9]{1,3}))?\s*(ms|s|m|h|d)", re.IGNORECASE)
_UNITS = {
    "ms": _MILLISECOND,
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_WORDS = {"day": "d", "hour": "h", "minute": "m", "second": "s"}


@dataclass(frozen=True, slots=True)
class Interval:
    """Due again and again after the same time.

    :raises ConfigurationError: it is no timedelta of whole milliseconds between
        :data:`SHORTEST` and :data:`LONGEST`.
    """

    length: timedelta

    def __post_init__(self) -> None:
        if not isinstance(self.length, timedelta):
            raise ConfigurationError(
                f"every must be a timedelta such as timedelta(minutes=5), not {self.length!r}"
            )
        if not SHORTEST <= self.length <= LONGEST:
            raise ConfigurationError(
                f"every must be from {in_words(SHORTEST)} to {in_words(LONGEST)}, "
                f"not {self.length!r}"
            )
        if self.length % _MILLISECOND:
            raise ConfigurationError(f"every counts whole milliseconds; {self.length!r} does not")

    @classmethod
    def read(cls, text: str) -> Self:
        """The interval that a text such as ``@every 90s`` means; units are ms, s, m, h and d."""
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ConfigurationError(
                f"cron {text[:60]!r} is no interval: write a number and one of the units ms, s, m, "
                "h and d, as in '@every 90s'"
            )
        whole, part, unit = match.groups()
        thousandths = int(whole) * 1000 + int((part or "0").ljust(3, "0"))
        try:
            return cls(thousandths * _UNITS[unit.lower()] / 1000)
        except OverflowError:
            raise ConfigurationError(
                f"every must be from {in_words(SHORTEST)} to {in_words(LONGEST)}, not {text[:60]!r}"
            ) from None

    def __str__(self) -> str:
        seconds, rest = divmod(self.length // _MILLISECOND, 1000)
        part = f".{rest:03}".rstrip("0") if rest else ""
        return f"{PREFIX} {seconds}{part}s"

    def next(self, after: datetime) -> datetime | None:
        """The first multiple that is strictly later than ``after`` (aware), in UTC."""
        try:
            return _EPOCH + ((after - _EPOCH) // self.length + 1) * self.length
        except OverflowError:
            return None

    def count(self, first: datetime, before: datetime) -> int:
        """How many multiples there are from ``first``, which is one, until before ``before``."""
        return max(0, -((first - before) // self.length))

    def describe(self) -> str:
        """The interval in English words."""
        for word, unit in _WORDS.items():
            count, rest = divmod(self.length, _UNITS[unit])
            if count and not rest:
                return f"Every {word}" if count == 1 else f"Every {count:,} {word}s"
        return f"Every {self.length.total_seconds():g} seconds"
