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

from .._recurring.policy import Policy
from ..errors import ConfigurationError
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
        "When it runs",
        hint="A cron expression: minute, hour, day, month, weekday, with the seconds before them "
        "if you like. Or @hourly, or an interval such as @every 90s",
        offers="crons",
    ),
    Option("timezone", "Time zone", hint="By whose clock, such as Europe/Berlin", offers="zones"),
    Option("paused", "Paused", Kind.FLAG, "It only runs when somebody triggers it", none="no"),
    Option("start", "Not before", Kind.MOMENT, "No run is due before this time", none="no limit"),
    Option("end", "Not after", Kind.MOMENT, "No run is due after this time", none="no limit"),
)
POLICIES = (
    Option(
        "misfire",
        "Runs missed while no server was up",
        Kind.CHOICE,
        "After an outage or a deployment",
        choices=(
            ("latest", "catch up on the last one"),
            ("all", "catch up on every one"),
            ("skip", "leave out those that are too late"),
        ),
    ),
    Option(
        "misfire_limit",
        "Catch up on at most",
        Kind.COUNT,
        "A number of runs, if every missed one is caught up on",
        under="all",
    ),
    Option(
        "misfire_grace",
        "Too late after",
        Kind.LENGTH,
        "Such as 30s or 5m, if late runs are left out",
        under="skip",
    ),
    Option(
        "overlap",
        "If the run before is not over",
        Kind.CHOICE,
        "When the next run is due",
        choices=(
            ("allow", "run both at once"),
            ("skip", "leave the next one out"),
            ("queue", "start the next one after it"),
            ("cancel", "stop it and start the next one"),
        ),
    ),
    Option(
        "jitter",
        "Random delay of up to",
        Kind.LENGTH,
        "Such as 90s or 5m, so that not all jobs start in the same second",
        none="no delay",
    ),
    Option(
        "keep",
        "Finished runs to keep",
        Kind.COUNT,
        "A number of runs, however old they are",
        none="as long as other jobs",
    ),
)
JOBS = (
    Option("queue", "Queue", hint="The queue that each run waits in", offers="queues"),
    Option("priority", "Priority", Kind.COUNT, "In a queue, smaller numbers run first"),
    Option(
        "retry",
        "Retries after a failure",
        Kind.RETRY,
        "A number such as 3, or the time before each retry: 10s, 1m, 5m",
        none="as its task says",
    ),
    Option(
        "timeout",
        "Time limit of a run",
        Kind.LENGTH,
        "Such as 90s, 5m or 1h",
        none="as its task says",
    ),
)
GROUPS = (("Schedule", SCHEDULE), ("Missed and overlapping runs", POLICIES), ("Each run", JOBS))
OPTIONS = {option.name: option for _, options in GROUPS for option in options}
