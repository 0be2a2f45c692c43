"""Looks after the other servers: when one has died, its jobs run elsewhere.

A server judges others only while its own heartbeat is steady: after an outage of the database all
of them look dead to the first that comes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa

from .._log.logger import logger
from .._random import rng
from .._store import Notification, Rescue, Store, Topic
from .heartbeat import Heartbeat


class Rescuer:
    """See ``periodic_loop.PeriodicTask``."""

    name = "Looking after other servers"

    def __init__(
        self,
        store: Store,
        heartbeat: Heartbeat,
        *,
        manifests_changed: Callable[[], None],
    ) -> None:
        self.next_at = 0.0
        self.peers = 0
        """How many others live."""
        self._store = store
        self._heartbeat = heartbeat
        self._manifests_changed = manifests_changed
        self._manifests: frozenset[str | None] = frozenset()
        self._unfinished: set[int] = set()
        """Ids of servers that were found dead, of whose jobs some may not have come back yet."""

    def perform(self, connection: sa.Connection) -> None:
        """Look once, and rescue a chunk of jobs."""
        self.next_at = time.monotonic() + self._heartbeat.interval * rng.uniform(0.9, 1.0)
        servers = self._store.servers
        others = servers.others(connection, self._heartbeat.server_id(), self._heartbeat.lease)
        self.peers = others.live
        if others.manifests != self._manifests:
            self._manifests = others.manifests
            self._manifests_changed()
        if others.dead and self._heartbeat.steady:
            self._unfinished.update(others.dead)
        if not self._unfinished:
            return
        rescue = servers.rescue(connection, sorted(self._unfinished))
        self._notify(connection, rescue)
        if not rescue.more:
            # Perhaps the one that died was itself in the middle of a rescue.
            self._unfinished = set(servers.leaked(connection))
        if self._unfinished and (rescue.requeued or rescue.parked):
            self.next_at = time.monotonic()  # the next chunk, after a heartbeat that is due

    def _notify(self, connection: sa.Connection, rescue: Rescue) -> None:
        for name in rescue.servers:
            logger.warning("Server %s died.", name)
        if rescue.requeued or rescue.parked:
            logger.warning(
                "Of the jobs that dead servers held, %d will run again; %d are parked as "
                "failed, since every server that ran them died.",
                rescue.requeued,
                rescue.parked,
            )
            self._store.database.driver.notify(connection, Notification(Topic.ANY))
            self._store.notify(Notification(Topic.ANY))
