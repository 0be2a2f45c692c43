"""Asks runs to stop whose time limit has passed. Needs no database."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from .._run.context import JobContext
from .outcome import TIMED_OUT
from .prefetch_buffer import PrefetchBuffer


class Timeouts:
    """Keeps the limits of the runs that have one."""

    def __init__(self, buffer: PrefetchBuffer, sooner: Callable[[], None]) -> None:
        self._buffer = buffer
        self._sooner = sooner
        self._limits: dict[int, tuple[JobContext, float]] = {}
        self._next = math.inf
        self._lock = threading.Lock()

    def limit(self, context: JobContext, at: float) -> None:
        """Ask the run to stop at this time of the monotonic clock, if it is still going."""
        with self._lock:
            self._limits[context.job_id] = (context, at)
            sooner = at < self._next
            self._next = min(self._next, at)
        if sooner:
            self._sooner()

    def enforce(self) -> float:
        """Stop what is over its limit; returns when to look again."""
        now = time.monotonic()
        with self._lock:
            for job_id, (context, at) in list(self._limits.items()):
                run = self._buffer.running.get(job_id)
                if run is None or run.context is not context:
                    del self._limits[job_id]
                elif at <= now:
                    context.cancel(TIMED_OUT)
                    del self._limits[job_id]
            self._next = min((at for _, at in self._limits.values()), default=math.inf)
            return self._next
