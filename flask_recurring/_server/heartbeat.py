"""Writes the heartbeat, by which other servers know that this one lives.

It also finds out that others took this server for dead, and which of its runs are to stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa

from .._log.logger import logger
from .._random import rng
from .._store import Lease, Store
from .backoff import LONGEST
from .outcome import DELETED
from .prefetch_buffer import PrefetchBuffer

MISSED_HEARTBEATS = 2.5
"""Intervals of silence after which other servers look if the process is gone."""

STEADY = LONGEST + 1.0
"""Seconds of heartbeats, at least, before a server judges others after it had to connect anew:
within this time all that live have found the database again."""


class Heartbeat:
    """See ``periodic_loop.PeriodicTask``."""

    name = "Heartbeat"

    def __init__(
        self,
        store: Store,
        buffer: PrefetchBuffer,
        *,
        server_id: Callable[[], int],
        register_again: Callable[[sa.Connection], None],
        liveness: Callable[[], list[str]],
        interval: float,
        lease: Lease,
    ) -> None:
        self.next_at = 0.0
        self._store = store
        self._buffer = buffer
        self.server_id = server_id
        self._register_again = register_again
        self.interval = interval
        self.lease = lease
        self._liveness = liveness
        self._connection: sa.Connection | None = None
        self._steady_since = 0.0
        self._last_heartbeat = 0.0

    @property
    def steady(self) -> bool:
        """True if its heartbeats have had no gap for as long as it may be silent."""
        now = time.monotonic()
        allowed = self.lease.overdue
        return now - self._last_heartbeat <= allowed <= now - self._steady_since

    def perform(self, connection: sa.Connection) -> None:
        """Write one heartbeat."""
        before = time.monotonic()
        beside = self._liveness()
        busy = len(self._buffer.running)
        servers = self._store.servers
        if not servers.heartbeat(connection, self.server_id(), busy, self.lease, beside):
            logger.warning(
                "This server was silent for so long that others took it for dead; "
                "it registers again."
            )
            self._register_again(connection)
        self._buffer.lease_until = before + self.lease.ends
        self._note(connection, time.monotonic())
        if self._buffer.running:
            self._ask_to_stop(connection)

    def _note(self, connection: sa.Connection, now: float) -> None:
        allowed = self.lease.overdue
        if now - self._last_heartbeat > allowed:
            self._steady_since = now
        if connection is not self._connection:
            # The database may have been away, even if only for an instant. Then the others' proof
            # of life is gone until they have come back too.
            first, self._connection = self._connection is None, connection
            self._steady_since = now if first else now + max(0.0, STEADY - allowed)
        self._last_heartbeat = now
        self.next_at = now + self.interval * rng.uniform(0.9, 1.0)

    def _ask_to_stop(self, connection: sa.Connection) -> None:
        claimed = self._store.jobs.claimed_by(connection, self.server_id(), cancelled=True)
        for job_id, _ in claimed:
            run = self._buffer.running.get(job_id)
            if run is not None:
                run.context.cancel(DELETED)
