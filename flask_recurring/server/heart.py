"""Beats, so that the others know that this server lives; and sees to it when another one died.

A server judges others only after it has itself been beating without a gap for as long as they are
allowed to be silent: after an outage of the database all of them look dead to the first that comes
back.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa

from ..chance import chance
from ..store import Hint, Store, Topic
from .backoff import LONGEST, logger
from .outcome import DELETED
from .stock import Stock

MISSED_BEATS = 2.5
"""Intervals of silence after which it is looked whether a server's process is gone."""

STEADY = LONGEST + 1.0
"""Seconds that a server beats, at least, before it judges others after it had to connect anew:
within this time all that live have found the database again."""


class Heart:
    """See ``control.Duty``."""

    name = "Beating"

    def __init__(
        self,
        store: Store,
        stock: Stock,
        *,
        server_id: Callable[[], int],
        sign_on_again: Callable[[sa.Connection], None],
        presences: Callable[[], list[str]],
        interval: float,
        timeout: float,
    ) -> None:
        self.next_at = 0.0
        self.peers = 0
        self._store = store
        self._stock = stock
        self._server_id = server_id
        self._sign_on_again = sign_on_again
        self._interval = interval
        self._timeout = timeout
        self._presences = presences
        self._connection: sa.Connection | None = None
        self._beating_since = 0.0
        self._last_beat = 0.0

    def perform(self, connection: sa.Connection) -> None:
        """Beat once."""
        server_id = self._server_id()
        before = time.monotonic()
        beside = self._presences()
        if not self._store.servers.beat(connection, server_id, len(self._stock.running), beside):
            logger.warning(
                "This server was silent for so long that others took it for dead; signing on anew."
            )
            self._sign_on_again(connection)
            server_id = self._server_id()
        self._stock.sure_until = before + self._timeout
        moment = time.monotonic()
        if moment - self._last_beat > self._silence:
            self._beating_since = moment
        if connection is not self._connection:
            # The database may have been away, however shortly, and what proves the others' life
            # is gone until they have come back too.
            first, self._connection = self._connection is None, connection
            self._beating_since = moment if first else moment + max(0.0, STEADY - self._silence)
        self._last_beat = moment
        self.next_at = moment + self._interval * chance.uniform(0.9, 1.0)
        if self._stock.running:
            self._ask_to_stop(connection, server_id)
        self._look_after_others(connection, server_id, moment)

    @property
    def _silence(self) -> float:
        return self._interval * MISSED_BEATS

    def _ask_to_stop(self, connection: sa.Connection, server_id: int) -> None:
        for job_id, _ in self._store.jobs.claimed_by(connection, server_id, cancelled=True):
            run = self._stock.running.get(job_id)
            if run is not None:
                run.context.cancel(DELETED)

    def _look_after_others(self, connection: sa.Connection, server_id: int, moment: float) -> None:
        servers = self._store.servers
        others = servers.others(connection, server_id, self._silence, self._timeout)
        self.peers = others.live
        if others.dead and moment - self._beating_since >= self._silence:
            rescue = servers.rescue(connection, others.dead)
            for name in rescue.servers:
                logger.warning("Server %s died.", name)
            if rescue.requeued or rescue.parked:
                logger.warning(
                    "Of the jobs that dead servers held, %d will run again; %d are parked as "
                    "failed, since every server that ran them died.",
                    rescue.requeued,
                    rescue.parked,
                )
                self._store.database.driver.announce(connection, Hint(Topic.ANY))
                self._store.tell(Hint(Topic.ANY))
