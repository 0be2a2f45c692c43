"""What a recurring job does beside its schedule: about ticks that were missed, about a run that is
still going when the next one is due, when exactly it starts, and how many runs are kept.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self, TypeAlias, TypedDict, TypeVar

from .._checks import read_seconds
from ..errors import ConfigurationError, shown

LONGEST_JITTER = 86_400.0
LONGEST_GRACE = 366 * 86_400.0
MOST_MISSED = 10_000
MOST_KEPT = 1_000_000


class Misfire(enum.StrEnum):
    """What becomes of ticks that no server was there for."""

    LATEST = "latest"
    """One run, for the newest of them. Hangfire: relaxed."""
    ALL = "all"
    """A run for each, or for the newest ones if there are more than the limit. Hangfire: strict."""
    SKIP = "skip"
    """A run for those that are late by less than the grace time only. Hangfire: ignorable."""


class Overlap(enum.StrEnum):
    """What a tick does while a run of the same recurring job is still going.

    A run is going until it is over for good: also while it has failed and waits for its retry.
    """

    ALLOW = "allow"
    """Run beside it."""
    SKIP = "skip"
    """Give this tick no run. No two go at once."""
    QUEUE = "queue"
    """Let one run wait until the other is over. No two go at once."""
    CANCEL = "cancel"
    """Ask the other to stop, and run. Until it has stopped, both run."""

    @property
    def apart(self) -> bool:
        """Whether no two runs go at once."""
        return self in (Overlap.SKIP, Overlap.QUEUE)


MisfireWord: TypeAlias = Literal["latest", "all", "skip", "relaxed", "strict", "ignorable"]
"""A misfire policy by its value, or by Hangfire's name."""

OverlapWord: TypeAlias = Literal["allow", "skip", "queue", "cancel"]
"""An overlap policy by its value."""

_HANGFIRE = {"relaxed": Misfire.LATEST, "strict": Misfire.ALL, "ignorable": Misfire.SKIP}

_Choice = TypeVar("_Choice", bound=enum.StrEnum)


class Policies(TypedDict, total=False):
    """The policies as options of ``Scheduler.recurring``, ``add_or_update`` and ``override``."""

    misfire: Misfire | MisfireWord
    """``"latest"`` (default), ``"all"`` or ``"skip"``; see :class:`Misfire`."""
    misfire_limit: int
    """How many missed ticks get a run of their own at most; 100 by default."""
    misfire_grace: timedelta | float
    """By how much a tick may be late under ``"skip"``; 30 seconds by default."""
    overlap: Overlap | OverlapWord
    """``"allow"`` (default), ``"skip"``, ``"queue"`` or ``"cancel"``; see :class:`Overlap`."""
    jitter: timedelta | float | None
    """Starts are spread over so much time after the tick; none by default."""
    keep: int | None
    """How many finished runs are kept, whatever the retention; None leaves it to the retention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The policies of one recurring job. Times are in seconds."""

    misfire: Misfire = Misfire.LATEST
    misfire_limit: int = 100
    misfire_grace: float = 30.0
    overlap: Overlap = Overlap.ALLOW
    jitter: float = 0.0
    keep: int | None = None

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """The policies that a row or its JSON keeps.

        A word that only a newer version knows is taken for the default.
        """
        known = {
            name: fields[name]
            for name in cls.__dataclass_fields__
            if fields.get(name) is not None and name not in ("misfire", "overlap")
        }
        return cls(
            misfire=_known(Misfire, fields.get("misfire")) or Misfire.LATEST,
            overlap=_known(Overlap, fields.get("overlap")) or Overlap.ALLOW,
            **known,
        )

    @classmethod
    def of(
        cls,
        *,
        misfire: Misfire | MisfireWord = Misfire.LATEST,
        misfire_limit: int = 100,
        misfire_grace: timedelta | float = 30.0,
        overlap: Overlap | OverlapWord = Overlap.ALLOW,
        jitter: timedelta | float | None = None,
        keep: int | None = None,
    ) -> Self:
        """Check what somebody wrote. Raises ``ConfigurationError`` naming the option."""
        return cls(
            misfire=_choice("misfire", Misfire, misfire, _HANGFIRE),
            misfire_limit=_count("misfire_limit", misfire_limit, MOST_MISSED),
            misfire_grace=read_seconds("misfire_grace", misfire_grace, LONGEST_GRACE),
            overlap=_choice("overlap", Overlap, overlap, {}),
            jitter=0.0 if jitter is None else read_seconds("jitter", jitter, LONGEST_JITTER),
            keep=None if keep is None else _count("keep", keep, MOST_KEPT),
        )


def start_of(id: str, due: datetime, jitter: float) -> datetime:
    """When the run of a tick starts: somewhere within ``jitter`` seconds after it is due.

    The same id and due time give the same start, on every host and at each attempt to tick.
    """
    if not jitter:
        return due
    digest = hashlib.blake2b(f"{id}\0{due.timestamp()!r}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest) / 2**64
    return due + timedelta(seconds=jitter * share)


def _choice(name: str, kind: type[_Choice], value: object, also: dict[str, _Choice]) -> _Choice:
    if isinstance(value, str):
        word = value.lower()
        if word in also:
            return also[word]
        if (known := _known(kind, word)) is not None:
            return known
    words = ", ".join(repr(choice.value) for choice in kind)
    others = f" (or Hangfire's {', '.join(map(repr, also))})" if also else ""
    raise ConfigurationError(f"{name} must be one of {words}{others}, not {shown(value)}")


def _known(kind: type[_Choice], word: object) -> _Choice | None:
    return next((choice for choice in kind if choice.value == word), None)


def _count(name: str, value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigurationError(
            f"{name} must be a whole number from 1 to {most:,}, not {shown(value)}"
        )
    return value
