"""Shares the load between hosts that are idle.

All of them receive the same notification. The one that had the last tick, or is busier, waits for
some milliseconds and lets the others claim first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._random import rng
from .._store.claim import Claimed
from .prefetch_buffer import PrefetchBuffer

AFTER_TICK = 0.03
"""Seconds that a host with the last tick lets others go first, also loaded ones."""

WHILE_BUSY = 0.002
"""Seconds that a host lets others go first when all its workers are busy; in proportion when not
all are."""


class Turns:
    """Says how long to wait before a claim.

    :param peers: how many other servers live.
    """

    def __init__(self, buffer: PrefetchBuffer, peers: Callable[[], int]) -> None:
        self._buffer = buffer
        self._peers = peers
        self._had_last_tick = False
        self._notified_of_tick = False

    def notified_of_tick(self) -> None:
        """Note that there is a tick for anyone to claim."""
        self._notified_of_tick = True

    def claimed(self, jobs: Sequence[Claimed]) -> None:
        """Note what came of a claim."""
        if jobs:
            self._had_last_tick = jobs[-1].due is not None
        elif self._notified_of_tick:
            self._had_last_tick = False  # another host has taken it
        self._notified_of_tick = False

    def pause(self) -> float:
        """Seconds to wait."""
        if self._peers() == 0:
            return 0.0
        pause = WHILE_BUSY * len(self._buffer.running) / self._buffer.threads
        if self._had_last_tick:
            pause += AFTER_TICK
        return pause + rng.uniform(0, WHILE_BUSY / 2) if pause > 0 else 0.0
