"""How one setting's value is read, for each kind of setting.

A reader takes what stands in Flask's configuration, which may have come from Python, from a file or
from the environment, and gives the value in the type that :class:`~.settings.Settings` names. It
raises :exc:`ValueError` with what would be right; whoever calls it adds the setting's name and what
was given.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import URL

from ..._checks import in_words, validate_id, validate_queue
from ...errors import ConfigurationError
from . import database_url

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,47}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_LONGEST_RETENTION = timedelta(days=36_500)


def flag(value: Any) -> bool:
    """True or False, also as a word or as 1 and 0."""
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError("True or False (in the environment also 1, 0, yes, no, on, off)")


def whole(least: int, most: int) -> Callable[[Any], int]:
    """A whole number within bounds, both included."""

    def read(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
            value = int(value)
        if type(value) is int and least <= value <= most:
            return value
        raise ValueError(f"a whole number from {least:,} to {most:,}")

    return read


def seconds(most: float, *, zero: bool = False) -> Callable[[Any], float]:
    """A length of time up to ``most`` seconds, given in seconds or as a timedelta."""

    def read(value: Any) -> float:
        number = _number(value)
        if number is not None and (0 < number <= most or (zero and number == 0)):
            return number
        least = "from 0" if zero else "above 0 and up"
        raise ValueError(f"a number of seconds or a timedelta, {least} to {in_words(most)}")

    return read


def retention(value: Any) -> timedelta | None:
    """How long something is kept: in seconds, as a timedelta, or None or "never" for ever."""
    if value is None or (isinstance(value, str) and value.strip().lower() in ("never", "none")):
        return None
    number = _number(value)
    if number is not None and 0 < number <= _LONGEST_RETENTION.total_seconds():
        return value if isinstance(value, timedelta) else timedelta(seconds=number)
    raise ValueError(
        f"a number of seconds or a timedelta, above 0 and up to {in_words(_LONGEST_RETENTION)}; "
        'None (in the environment "never") keeps for ever'
    )


def text(value: Any) -> str:
    """Printable text that is not empty."""
    try:
        return validate_id(_as_written(value))
    except ConfigurationError:
        raise ValueError(
            "text of 1 to 200 printable characters, without white space at either end"
        ) from None


def optional_text(value: Any) -> str | None:
    """Text that is not empty, or None."""
    return None if value is None else text(value)


def schema(value: Any) -> str:
    """An identifier, short enough to leave room for the tables' names."""
    reserved = ("pg_", "sqlite_")
    if isinstance(value, str) and _SCHEMA.fullmatch(value) and not value.startswith(reserved):
        return value
    raise ValueError(
        "1 to 48 of the characters a-z, 0-9 and _, not beginning with a digit, pg_ or sqlite_"
    )


def queues(value: Any) -> tuple[str, ...]:
    """Names of queues in order of precedence, as a sequence or separated by commas."""
    value = _as_written(value)
    if isinstance(value, str):
        names: Iterable[Any] = [name.strip() for name in value.split(",")]
    elif isinstance(value, (list, tuple)):
        names = value
    else:
        names = ()
    found = tuple(names)
    right = (
        'one or more different queues in order of precedence, such as ["mail", "*"] or "mail,*"; '
        "a name is 1 to 64 of the characters a-z, 0-9, _ and -, and * stands for all not named"
    )
    if not found or len({*map(str, found)}) != len(found):
        raise ValueError(right)
    for name in found:
        if name != "*":
            try:
                validate_queue(name)
            except ConfigurationError:
                raise ValueError(right) from None
    return found


def database(value: Any) -> str | None:
    """The address of a database, or None. See :func:`.database_url.normalise`."""
    if value is None:
        return None
    if isinstance(value, (str, URL)) and value:
        return database_url.normalise(value)
    raise ValueError(f"an address, such as {database_url.EXAMPLES}, or left out")


def factory(value: Any) -> Callable[[], Any] | None:
    """Something to call without arguments, or None."""
    if value is None or callable(value):
        return value  # type: ignore[no-any-return]
    raise ValueError("something to call, without arguments, that gives a new driver connection")


def hooks(value: Any) -> tuple[Callable[..., Any], ...]:
    """One authorization hook or a sequence of them."""
    found = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    for hook in found:
        if isinstance(hook, type):
            raise ValueError(f"hooks that can be called: {hook.__name__}() rather than its class")
        if not callable(hook):
            raise ValueError(
                "a list of callables, each taking the request and answering an Access or a bool, "
                "such as [AllowAll()]"
            )
    return found


def url_prefix(value: Any) -> str:
    """The path under which the dashboard stands."""
    if isinstance(value, str) and _PREFIX.fullmatch(value):
        parts = value.split("/")
        if "." not in parts and ".." not in parts:
            return value
    raise ValueError(
        'a path that begins with "/", does not end in one and is not "/" alone, such as '
        '"/hangfire" or "/admin/jobs", of the characters A-Z, a-z, 0-9, ., _, ~ and -'
    )


def link(value: Any) -> str:
    """Where a link may lead: a path on this site, or an address of the web."""
    if isinstance(value, str) and value.isprintable() and " " not in value and "\\" not in value:
        on_this_site = value.startswith("/") and not value.startswith("//")
        if on_this_site or re.match(r"https?://[^/]", value):
            return value
    raise ValueError('a path such as "/", or an address that begins with https:// or http://')


def _as_written(value: Any) -> Any:
    """A whole number as text: the environment's ``3`` is read as JSON before it comes here."""
    return str(value) if type(value) is int else value


def _number(value: Any) -> float | None:
    """A finite number of seconds; None if the value is none."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
