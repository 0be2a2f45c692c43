"""Looks for what goes on for too long: statements on the server's connections, and runs."""

from __future__ import annotations

import threading
import time

from .connections import Connections
from .timeouts import Timeouts

INTERVAL = 1.0
"""Seconds between two looks."""


class Watchdog:
    """Called by the supervisor, again and again. Asks the database nothing.

    :param wake: ends a wait early.
    """

    def __init__(self, connections: Connections, timeouts: Timeouts, wake: threading.Event) -> None:
        self._connections = connections
        self._timeouts = timeouts
        self._wake = wake

    def watch(self) -> None:
        """Stop runs that are over their time, wait until the next look, and abort what hangs."""
        before = time.monotonic()
        pause = min(INTERVAL, self._timeouts.enforce() - before)
        self._wake.wait(max(0.0, pause))
        self._wake.clear()
        # If this process stood still, answers may have come that nobody could take: next time.
        if time.monotonic() - before <= 2 * INTERVAL:
            self._connections.abort_overdue()
