"""Beats, so that the others know that this server lives, and hears of its own death.

With each heartbeat it looks, too, whether runs of this server are to stop.
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
"""Intervals of silence after which it is looked whether a server's process is gone."""

STEADY = LONGEST + 1.0
"""Seconds that a server beats, at least, before it judges others after it had to connect anew:
within this time all that live have found the database again."""


class Heartbeat:
    """See ``control.Duty``."""

    name = "Beating"

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
        self._server_id = server_id
        self._register_again = register_again
        self._interval = interval
        self._lease = lease
        self._liveness = liveness
        self._connection: sa.Connection | None = None
        self._beating_since = 0.0
        self._last_heartbeat = 0.0

    @property
    def steady(self) -> bool:
        """True if it has beaten without a gap for as long as it may be silent."""
        moment = time.monotonic()
        allowed = self._lease.overdue
        return moment - self._last_heartbeat <= allowed <= moment - self._beating_since

    def perform(self, connection: sa.Connection) -> None:
        """Beat once."""
        before = time.monotonic()
        beside = self._liveness()
        busy = len(self._buffer.running)
        servers = self._store.servers
        if not servers.heartbeat(connection, self._server_id(), busy, self._lease, beside):
            logger.warning(
                "This server was silent for so long that others took it for dead; signing on anew."
            )
            self._register_again(connection)
        self._buffer.lease_until = before + self._lease.ends
        self._note(connection, time.monotonic())
        if self._buffer.running:
            self._ask_to_stop(connection)

    def _note(self, connection: sa.Connection, moment: float) -> None:
        allowed = self._lease.overdue
        if moment - self._last_heartbeat > allowed:
            self._beating_since = moment
        if connection is not self._connection:
            # The database may have been away, however shortly, and what proves the others' life
            # is gone until they have come back too.
            first, self._connection = self._connection is None, connection
            self._beating_since = moment if first else moment + max(0.0, STEADY - allowed)
        self._last_heartbeat = moment
        self.next_at = moment + self._interval * rng.uniform(0.9, 1.0)

    def _ask_to_stop(self, connection: sa.Connection) -> None:
        claimed = self._store.jobs.claimed_by(connection, self._server_id(), cancelled=True)
        for job_id, _ in claimed:
            run = self._buffer.running.get(job_id)
            if run is not None:
                run.context.cancel(DELETED)
