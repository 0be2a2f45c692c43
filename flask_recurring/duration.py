"""Lengths of time as users give them, in seconds or as timedeltas, and in words for messages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from .errors import ConfigurationError, shown

_YEAR = 365.25 * 86_400
_UNITS = (("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0), ("second", 1.0))


def in_words(length: timedelta | float) -> str:
    """``10 years``, ``36 hours``, ``0.1 seconds``: in the largest unit that comes out even.

    Some days more or less are no matter with years, whose number is a bound and no measure.
    """
    seconds = length.total_seconds() if isinstance(length, timedelta) else float(length)
    years = round(seconds / _YEAR)
    if years and abs(seconds - years * _YEAR) <= years * 43_200:
        return _counted(years, "year")
    for unit, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            return _counted(seconds / size, unit)
    return _counted(seconds, "second")


def read_seconds(name: str, value: Any, longest: float) -> float:
    """A length of time in seconds, from none to ``longest``.

    :raises ConfigurationError: it is none, or out of these bounds; the message names it.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ConfigurationError(
            f"{name} must be a timedelta or a number of seconds, not {shown(value)}"
        )
    # What is not a number fails the comparison too.
    if not 0 <= seconds <= longest:
        raise ConfigurationError(
            f"{name} must be from 0 seconds to {in_words(longest)}, not {shown(value)}"
        )
    return float(seconds)


def _counted(count: float, unit: str) -> str:
    return f"1 {unit}" if count == 1 else f"{count:,.10g} {unit}s"
