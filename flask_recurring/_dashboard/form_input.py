"""The options that an operator may set, as inputs of a form: their words, and their values as text.

Text that can't be read is passed on as it is, or refused here, so that each error names its option.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from .._recurring.options import OVERRIDABLE, Kind, Option
from ..errors import ConfigurationError
from ..retry import RetryPolicy

_LENGTH = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)?", re.ASCII | re.IGNORECASE)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_TIME = "%Y-%m-%dT%H:%M:%S"


@dataclass(frozen=True, slots=True)
class Input:
    """How one option is written in the form, and what the form says about it."""

    name: str
    label: str
    hint: str = ""
    none: str | None = None
    """What is shown where there is no value; None for an option that always has one."""
    choices: tuple[tuple[str, str], ...] = ()
    """Values and what they mean."""
    under: str | None = None
    """The choice of ``misfire`` under which it matters; None if it always does."""
    offers: str | None = None
    """Id of the page's list of values to choose from."""

    @property
    def option(self) -> Option:
        """The option that it sets."""
        return OVERRIDABLE[self.name]

    @property
    def kind(self) -> Kind:
        """How it is written. A length of time is ``90s`` or ``5m``, and a bare number is seconds.
        A time is on the clocks of the recurring job's zone. Retries are a number, or the waits
        before them: ``10s, 1m, 5m``."""
        return self.option.kind

    def value(self, *layers: Mapping[str, Any]) -> Any:
        """The JSON value that counts, of later layers over earlier ones."""
        found = self.option.default
        for layer in layers:
            found = layer.get(self.name, found)
        return found

    def text(self, value: Any, zone: ZoneInfo) -> str:
        """A JSON value as somebody would write it; empty for none."""
        if value is None or (self.option.optional and value == self.option.default):
            return ""
        match self.kind:
            case Kind.FLAG:
                return "yes" if value else ""
            case Kind.LENGTH:
                return length(value)
            case Kind.INSTANT:
                return datetime.fromisoformat(value).astimezone(zone).strftime(_TIME)
            case Kind.RETRY:
                return _retries(RetryPolicy.from_json(value))
        return str(value)

    def read(self, text: str, zone: ZoneInfo) -> Any:
        """What ``Scheduler.override`` takes for a text. Raises ``ConfigurationError``."""
        text = text.strip()
        if self.kind is Kind.FLAG:
            return bool(text)
        if not text and self.option.optional:
            return None
        match self.kind:
            case Kind.COUNT:
                return _whole(text)
            case Kind.LENGTH:
                return self._seconds(text)
            case Kind.INSTANT:
                return self._instant(text, zone)
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

    def _instant(self, text: str, zone: ZoneInfo) -> datetime:
        try:
            given = datetime.fromisoformat(text)
            return given if given.tzinfo else given.replace(tzinfo=zone)
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
    Input(
        "cron",
        "When it runs",
        "A cron expression: minute, hour, day, month, weekday, with the seconds before them "
        "if you like. Or @hourly, or an interval such as @every 90s",
        offers="crons",
    ),
    Input("timezone", "Time zone", "By whose clock, such as Europe/Berlin", offers="zones"),
    Input("paused", "Paused", "It only runs when somebody triggers it", none="no"),
    Input("start", "Not before", "No run is due before this time", none="no limit"),
    Input("end", "Not after", "No run is due after this time", none="no limit"),
)
POLICIES = (
    Input(
        "misfire",
        "Runs missed while no server was up",
        "After an outage or a deployment",
        choices=(
            ("latest", "catch up on the last one"),
            ("all", "catch up on every one"),
            ("skip", "leave out those that are too late"),
        ),
    ),
    Input(
        "misfire_limit",
        "Catch up on at most",
        "A number of runs, if every missed one is caught up on",
        under="all",
    ),
    Input(
        "misfire_grace",
        "Too late after",
        "Such as 30s or 5m, if late runs are left out",
        under="skip",
    ),
    Input(
        "overlap",
        "If the run before is not over",
        "When the next run is due",
        choices=(
            ("allow", "run both at once"),
            ("skip", "leave the next one out"),
            ("queue", "start the next one after it"),
            ("cancel", "stop it and start the next one"),
        ),
    ),
    Input(
        "jitter",
        "Random delay of up to",
        "Such as 90s or 5m, so that not all jobs start in the same second",
        none="no delay",
    ),
    Input(
        "keep",
        "Finished runs to keep",
        "A number of runs, however old they are",
        none="as long as other jobs",
    ),
)
JOBS = (
    Input("queue", "Queue", "The queue that each run waits in", offers="queues"),
    Input("priority", "Priority", "In a queue, smaller numbers run first"),
    Input(
        "retry",
        "Retries after a failure",
        "A number such as 3, or the time before each retry: 10s, 1m, 5m",
        none="as its task says",
    ),
    Input(
        "timeout",
        "Time limit of a run",
        "Such as 90s, 5m or 1h",
        none="as its task says",
    ),
)
GROUPS = (("Schedule", SCHEDULE), ("Missed and overlapping runs", POLICIES), ("Each run", JOBS))
INPUTS = {one.name: one for _, inputs in GROUPS for one in inputs}
"""By the names of the options."""
