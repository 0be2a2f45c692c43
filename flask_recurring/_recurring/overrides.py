"""What an operator may put in the place of what the code declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from .._checks import checked_priority, checked_timeout, validate_queue
from ..errors import ConfigurationError
from ..retry import Retry, RetryPolicy
from .interval import Interval
from .policy import Policies, Policy
from .schedule import Schedule


class Overrides(Policies, total=False):
    """Options of ``Scheduler.override``: what is left out stays as it is."""

    cron: str
    every: timedelta
    timezone: str | ZoneInfo
    start: datetime | None
    end: datetime | None
    queue: str
    priority: int
    retry: Retry
    timeout: timedelta | float | None
    paused: bool


def checked(given: Mapping[str, Any]) -> tuple[dict[str, Any], bool | None]:
    """The JSON fields that stand for these options, and whether to pause.

    Raises ``ConfigurationError`` naming the option that is wrong.
    """
    if {"cron", "every"} <= given.keys():
        raise ConfigurationError("override takes cron or every, not both")
    fields: dict[str, Any] = {}
    paused: bool | None = None
    for name, value in given.items():
        if name == "paused":
            if not isinstance(value, bool):
                raise ConfigurationError(f"paused must be True or False, not {value!r}")
            paused = value
        else:
            field = field_of(name)
            fields[field] = _checked(name, value)
    return fields, paused


def checked_names(names: Iterable[str]) -> frozenset[str]:
    """The fields that these options are kept in."""
    if isinstance(names, str):
        raise ConfigurationError(f"reset takes a list of options such as [{names!r}]")
    return frozenset(name if name == "paused" else field_of(name) for name in names)


def field_of(name: str) -> str:
    """The field that an option is kept in. Raises ``ConfigurationError`` if there is none."""
    if name not in Overrides.__annotations__:
        raise ConfigurationError(
            f"{name!r} can't be overridden; right are {', '.join(Overrides.__annotations__)}"
        )
    return "cron" if name == "every" else name


def _checked(name: str, value: Any) -> Any:
    match name:
        case "cron":
            return Schedule.of(value).cron
        case "every":
            return str(Interval(value))
        case "timezone":
            return Schedule.of("* * * * *", timezone=value).timezone
        case "start" | "end":
            bound = getattr(Schedule("* * * * *", **{name: value}), name)
            return None if bound is None else bound.isoformat()
        case "queue":
            return validate_queue(value)
        case "priority":
            return checked_priority(value)
        case "retry":
            return None if value is None else RetryPolicy.of(value).to_json()
        case "timeout":
            return checked_timeout(value)
    return getattr(Policy.of(**{name: value}), name)
