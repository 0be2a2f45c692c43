"""How often a failed job runs again, and after how long."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, TypeAlias

import msgspec

from ._checks import in_words
from .errors import ConfigurationError

MOST_ATTEMPTS = 10_000
"""The most retries that a policy may ask for."""

LONGEST_DELAY = 365 * 86_400.0
"""The longest wait before a retry, in seconds."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The retries of a job that fails.

    Without ``delays`` the wait before the n-th retry is ``(n - 1)⁴ + 15`` seconds and a random part
    of up to ``30 · n``: half a minute at first, and about two hours before the tenth. The random
    part keeps jobs that failed together from coming back together.

    :param attempts: retries after the first run; 0 for none.
    :param delays: the waits before the first, second, … retry, in seconds or as timedeltas; the
        last one repeats. None: as above.
    :raises ConfigurationError: a number is out of bounds or no number; the message names it.
    """

    attempts: int = 10
    delays: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or not 0 <= self.attempts <= MOST_ATTEMPTS:
            raise ConfigurationError(
                f"retry: attempts can't be {self.attempts!r}; it must be a whole number from 0 to "
                f"{MOST_ATTEMPTS:,}"
            )
        if self.delays is not None:
            object.__setattr__(self, "delays", _read_delays(self.delays))

    @classmethod
    def of(cls, value: Retry) -> Self:
        """The policy that a decorator's ``retry=`` means.

        A number is that of the retries; True and None mean the default; False means none; a
        sequence gives the waits, and with them how many retries there are.

        :raises ConfigurationError: it is none of these.
        """
        if isinstance(value, cls):
            return value
        if value is None or value is True:
            return cls()
        if value is False:
            return cls(attempts=0)
        if type(value) is int:
            return cls(attempts=value)
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            return cls(attempts=len(value), delays=_read_delays(tuple(value)))
        raise ConfigurationError(
            f"retry can't be {value!r}; it must be a number of retries, True, False, a sequence of "
            "waits in seconds, or a RetryPolicy"
        )

    def delay(self, n: int, rng: random.Random) -> float:
        """Seconds to wait before the ``n``-th retry, counted from 1.

        :param rng: where the random part comes from.
        :raises ValueError: ``n`` is less than 1.
        """
        if n < 1:
            raise ValueError(f"retries are counted from 1, not {n}")
        if self.delays is not None:
            return self.delays[min(n, len(self.delays)) - 1]
        return min(float(round((n - 1) ** 4 + 15 + rng.random() * 30 * n)), LONGEST_DELAY)

    def to_json(self) -> str:
        """The policy as JSON text, to be stored with a job."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The policy that :meth:`to_json` wrote.

        :raises ConfigurationError: the text is not such a policy.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise ConfigurationError(f"stored retry policy: {error}") from error


Retry: TypeAlias = int | bool | RetryPolicy | Sequence[float | timedelta] | None
"""What a decorator takes as ``retry=``."""


def _read_delays(given: Any) -> tuple[float, ...]:
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)) or not given:
        raise ConfigurationError(
            f"retry: delays can't be {given!r}; it must be one or more waits in seconds, such as "
            "(1, 10, 60), or None"
        )
    delays = []
    for wait in given:
        seconds = wait.total_seconds() if isinstance(wait, timedelta) else wait
        number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        # Not a number and infinity fail the comparison too.
        if not number or not 0 <= seconds <= LONGEST_DELAY:
            raise ConfigurationError(
                f"retry: a wait can't be {wait!r}; it must be a timedelta or a number of seconds, "
                f"from 0 seconds to {in_words(LONGEST_DELAY)}"
            )
        delays.append(float(seconds))
    return tuple(delays)
