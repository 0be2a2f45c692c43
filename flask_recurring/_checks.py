"""Checks of what users give: names, numbers, lengths of time, choices.

Each raises ``ConfigurationError`` with a message that names the option and says what is right.
"""

from __future__ import annotations

import difflib
import enum
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from .errors import ConfigurationError, UnknownOptionError, shown

LONGEST_ID = 200
"""The most characters that an id or a task's name may have."""

_QUEUE = re.compile(r"[a-z0-9_-]{1,64}")

# Control characters, half a surrogate pair, and the two that break lines.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})

_YEAR = 365.25 * 86_400
_UNITS = (("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0), ("second", 1.0))


def refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Say of an option that there is none of this name, and which were nearly meant.

    :param what: what was called.
    :raises UnknownOptionError: something was given that is not known.
    """
    there = list(known)
    for name in given:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=3)
            hint = "did you mean" if near else "it has"
            listed = ", ".join(map(repr, near or there))
            raise UnknownOptionError(
                f"{what}() has no option {name!r}; {hint} {listed}{'?' if near else ''}"
            )


def validate_queue(name: object) -> str:
    """The name of a queue, if it is one.

    :raises ConfigurationError: it is not 1 to 64 of the characters ``a-z``, ``0-9``, ``_``, ``-``.
    """
    if isinstance(name, str) and _QUEUE.fullmatch(name):
        return name
    raise ConfigurationError(
        f"queue {name!r} is not a queue's name: use 1 to 64 of the characters a-z, 0-9, _ and -"
    )


def validate_id(value: object, what: str = "id") -> str:
    """The id of a recurring job, or the name of a task, if it is one.

    :param what: what the value is, for the message.
    :raises ConfigurationError: it is no text, empty, longer than :data:`LONGEST_ID`, holds control
        characters, or begins or ends with white space.
    """
    if not isinstance(value, str):
        wrong = "is no text"
    elif not value:
        wrong = "is empty"
    elif len(value) > LONGEST_ID:
        wrong = f"has {len(value)} characters"
    elif value != value.strip():
        wrong = "begins or ends with white space"
    elif any(unicodedata.category(character) in _UNPRINTABLE for character in value):
        wrong = "holds a control character"
    else:
        return value
    text = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:77]}..."
    raise ConfigurationError(
        f"{what} {text} {wrong}: use 1 to {LONGEST_ID} printable characters, without white space "
        "at either end"
    )


def checked_priority(value: int) -> int:
    """A priority. Smaller runs first."""
    if isinstance(value, bool) or not isinstance(value, int) or not -32768 <= value <= 32767:
        raise ConfigurationError(
            f"priority is a whole number from -32768 to 32767 (smaller runs first), not {value!r}"
        )
    return value


def checked_timeout(value: timedelta | float | None) -> float | None:
    """A time limit in seconds, or none."""
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ConfigurationError(f"timeout is a number of seconds or a timedelta, not {value!r}")
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigurationError(f"timeout must be longer than nothing and finite, not {value!r}")
    return float(seconds)


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


def read_seconds(name: str, longest: float, value: Any) -> float:
    """A length of time in seconds, from 0 to ``longest``."""
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


def checked_count(name: str, most: int, value: Any) -> int:
    """A whole number from 1 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigurationError(
            f"{name} must be a whole number from 1 to {most:,}, not {shown(value)}"
        )
    return value


def checked_flag(name: str, value: Any) -> bool:
    """True or False, and nothing that merely counts as one of them."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, not {value!r}")
    return value


def checked_choice(
    name: str, choices: type[enum.StrEnum], also: Mapping[str, enum.StrEnum], value: Any
) -> str:
    """The word of one of these choices.

    :param also: other words for some of them.
    """
    if isinstance(value, str):
        word = also.get(value.lower(), value.lower())
        if word in list(choices):
            return str(word)
    words = ", ".join(repr(choice.value) for choice in choices)
    others = f" (or Hangfire's {', '.join(map(repr, also))})" if also else ""
    raise ConfigurationError(f"{name} must be one of {words}{others}, not {shown(value)}")


def _counted(count: float, unit: str) -> str:
    return f"1 {unit}" if count == 1 else f"{count:,.10g} {unit}s"
