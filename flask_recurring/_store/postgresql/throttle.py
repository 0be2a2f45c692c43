"""Leaves out notifications that follow one another too closely.

A commit that notifies takes a lock which all others like it in the cluster queue at, so a flood of
jobs notifies once in a while, and listeners look again a few milliseconds after each notification.
A job may go without one of its own only if it is committed before that second look. A process does
not know this before the commit, nor that the statement before will not fail: so only notifications
that were committed count, by the time at which their statements began, and each statement is judged
twice. Before it, by how long the last one took; and after it, by the time that it did take.
"""

from __future__ import annotations

import math

INTERVAL = 0.003
"""Seconds after which a notification stands for no other job. Listeners look again a little later,
see ``claimer.LOOK_AGAIN``."""


class Throttle:
    """What one process has notified of late. Moments are seconds of its monotonic clock."""

    def __init__(self) -> None:
        self._sent: dict[str, float] = {}
        self._took = 0.0

    def spares(self, payload: str, began: float) -> bool:
        """True if a statement that begins now will likely need no notification."""
        return self.covers(payload, began + self._took)

    def covers(self, payload: str, committed: float) -> bool:
        """True if listeners look once more after this moment, for a notification sent before."""
        return committed - self._sent.get(payload, -math.inf) < INTERVAL

    def sent(self, payload: str, began: float, committed: float) -> None:
        """Note that a statement has notified and was committed."""
        self._took = committed - began
        if len(self._sent) > 1000:
            self._sent.clear()
        self._sent[payload] = began
