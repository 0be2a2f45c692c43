"""The options of a recurring job that an operator may set, as text: shown in a form and read back.

What the code declares and what stands over it are kept as JSON values by the same names. Text that
can't be read is given on as it is, or refused here, so that each error names its option.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from ..errors import ConfigurationError
from ..policy import Policy
from ..retry import RetryPolicy

_LENGTH = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)?", re.ASCII | re.IGNORECASE)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MOMENT = "%Y-%m-%dT%H:%M:%S"

_POLICY = Policy()


class Kind(StrEnum):
    """How an option is written."""

    TEXT = "text"
    FLAG = "flag"
    CHOICE = "choice"
    COUNT = "count"
    LENGTH = "length"
    """Of time: ``90s``, ``5m``; a bare number is seconds."""
    MOMENT = "moment"
    """On the clocks of the recurring job's zone."""
    RETRY = "retry"
    """A number of retries, or the waits before them: ``10s, 1m, 5m``."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option."""

    name: str
    label: str
    kind: Kind = Kind.TEXT
    hint: str = ""
    none: str | None = None
    """What is shown where there is no value; None for an option that always has one."""
    choices: tuple[tuple[str, str], ...] = ()
    """Values and what they mean."""
    under: str | None = None
    """The choice of ``misfire`` under which it matters; None if it always does."""
    offers: str | None = None
    """Id of the page's list of values to choose from."""

    def value(self, *layers: Mapping[str, Any]) -> Any:
        """The JSON value that counts, of later layers over earlier ones."""
        found = getattr(_POLICY, self.name, False if self.kind is Kind.FLAG else None)
        for layer in layers:
            found = layer.get(self.name, found)
        return found

    def text(self, value: Any, zone: ZoneInfo) -> str:
        """A JSON value as somebody would write it; empty for none."""
        if value is None or (self.kind is Kind.LENGTH and value == 0 and self.none is not None):
            return ""
        match self.kind:
            case Kind.FLAG:
                return "yes" if value else ""
            case Kind.LENGTH:
                return length(value)
            case Kind.MOMENT:
                return datetime.fromisoformat(value).astimezone(zone).strftime(_MOMENT)
            case Kind.RETRY:
                return _retries(RetryPolicy.from_json(value))
        return str(value)

    def read(self, text: str, zone: ZoneInfo) -> Any:
        """What ``Scheduler.override`` takes for a text. Raises ``ConfigurationError``."""
        text = text.strip()
        if self.kind is Kind.FLAG:
            return bool(text)
        if not text and self.none is not None:
            return None
        match self.kind:
            case Kind.COUNT:
                return _whole(text)
            case Kind.LENGTH:
                return self._seconds(text)
            case Kind.MOMENT:
                return self._moment(text, zone)
            case Kind.RETRY:
                number = _whole(text)
                return number if isinstance(number, int) else self._waits(text)
        return text

    def _seconds(self, text: str) -> float:
        match = _LENGTH.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"{self.name} {text[:40]!r} is no length of time: write 90, 90s, 5m or 1h"
            )
        return float(match[1]) * _UNITS[(match[2] or "s").lower()]

    def _moment(self, text: str, zone: ZoneInfo) -> datetime:
        try:
            moment = datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=zone)
        except ValueError:
            raise ConfigurationError(
                f"{self.name} {text[:40]!r} is no date with a time: write it as 2031-01-31 08:00"
            ) from None

    def _waits(self, text: str) -> list[float]:
        try:
            return [self._seconds(wait.strip()) for wait in text.split(",")]
        except ConfigurationError:
            raise ConfigurationError(
                f"retry {text[:40]!r} is neither a number of retries, such as 3, nor the waits "
                "before them, such as 10s, 1m, 5m"
            ) from None


def length(seconds: float) -> str:
    """Seconds in the largest unit that divides them: ``5m``, ``90s``, ``1.5s``."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def _retries(policy: RetryPolicy) -> str:
    if policy.delays is None or policy.attempts == 0:
        return str(policy.attempts)
    waits = policy.delays[: policy.attempts]
    waits += waits[-1:] * (policy.attempts - len(waits))
    return ", ".join(map(length, waits))


def _whole(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,9}", text) else text


SCHEDULE = (
    Option(
        "cron",
        "Cron or interval",
        hint="Five fields, six with the seconds first, @hourly, or an interval: @every 90s",
        offers="crons",
    ),
    Option("timezone", "Time zone", hint="A name such as Europe/Berlin", offers="zones"),
    Option("paused", "Paused", Kind.FLAG, "No ticks; it can still be triggered", none="no"),
    Option("start", "Not before", Kind.MOMENT, "On that zone's clocks", none="no bound"),
    Option("end", "Not after", Kind.MOMENT, "On that zone's clocks", none="no bound"),
)
POLICIES = (
    Option(
        "misfire",
        "Missed ticks",
        Kind.CHOICE,
        "Of a time when no server was there",
        choices=(
            ("latest", "run the newest"),
            ("all", "run each"),
            ("skip", "run none that is too late"),
        ),
    ),
    Option(
        "misfire_limit",
        "Run at most",
        Kind.COUNT,
        "Of missed ticks, where each is run",
        under="all",
    ),
    Option(
        "misfire_grace",
        "Too late after",
        Kind.LENGTH,
        "Where none is run that is too late",
        under="skip",
    ),
    Option(
        "overlap",
        "A run still goes",
        Kind.CHOICE,
        "When the next tick comes",
        choices=(
            ("allow", "run beside it"),
            ("skip", "skip the tick"),
            ("queue", "wait for its end"),
            ("cancel", "ask it to stop"),
        ),
    ),
    Option("jitter", "Spread starts over", Kind.LENGTH, "Such as 90s, 5m or 1h", none="not spread"),
    Option("keep", "Keep runs", Kind.COUNT, "However old they are", none="by retention"),
)
JOBS = (
    Option("queue", "Queue", hint="Where its jobs wait", offers="queues"),
    Option("priority", "Priority", Kind.COUNT, "Smaller runs first"),
    Option("retry", "Retries", Kind.RETRY, "A number, or waits: 10s, 1m, 5m", none="the task’s"),
    Option("timeout", "Time limit", Kind.LENGTH, "Such as 90s, 5m or 1h", none="the task’s"),
)
GROUPS = (("Schedule", SCHEDULE), ("Policies", POLICIES), ("Jobs", JOBS))
OPTIONS = {option.name: option for _, options in GROUPS for option in options}
