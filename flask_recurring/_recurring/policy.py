"""What a recurring job does about missed ticks and overlapping runs, and when a run starts."""

from __future__ import annotations

import enum
import hashlib
from datetime import datetime, timedelta
from typing import Literal, TypeAlias


class Misfire(enum.StrEnum):
    """What becomes of ticks that were missed because no server was up."""

    LATEST = "latest"
    """One run, for the newest of them. Hangfire: relaxed."""
    ALL = "all"
    """A run for each, or for the newest ones if there are more than the limit. Hangfire: strict."""
    SKIP = "skip"
    """A run for those that are late by less than the grace time only. Hangfire: ignorable."""


class Overlap(enum.StrEnum):
    """What a tick does while a run of the same recurring job is active.

    A run is active until it is over for good. One that has failed and waits for its retry is active
    too.
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
        """True if no two runs go at once."""
        return self in (Overlap.SKIP, Overlap.QUEUE)


MisfireWord: TypeAlias = Literal["latest", "all", "skip", "relaxed", "strict", "ignorable"]
"""A misfire policy by its value, or by Hangfire's name."""

OverlapWord: TypeAlias = Literal["allow", "skip", "queue", "cancel"]
"""An overlap policy by its value."""

HANGFIRE = {"relaxed": Misfire.LATEST, "strict": Misfire.ALL, "ignorable": Misfire.SKIP}
"""Hangfire's names of the misfire policies."""


def start_of(id: str, due: datetime, jitter: float) -> datetime:
    """When the run of a tick starts: at some time within ``jitter`` seconds after it is due.

    The same id and due time give the same start on every host and in each attempt to tick.
    """
    if not jitter:
        return due
    digest = hashlib.blake2b(f"{id}\0{due.timestamp()!r}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest) / 2**64
    return due + timedelta(seconds=jitter * share)
