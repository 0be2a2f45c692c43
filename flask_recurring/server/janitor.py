"""Deletes what has been kept for long enough. One server at a time does it, in small steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from ..chance import chance
from ..job import JobState
from ..store import Store
from ..store.purge import Place
from .backoff import logger

INTERVAL = 60.0
"""Seconds between two rounds, of all servers together."""

ANEW = 3600.0
"""Seconds after which runs that were kept are looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are kept; None for ever."""

    succeeded: timedelta | None
    failed: timedelta | None
    deleted: timedelta | None
    statistics: timedelta | None
    audit: timedelta | None


class Janitor:
    """See ``control.Duty``."""

    name = "Cleaning up"

    def __init__(self, store: Store, retention: Retention) -> None:
        # Not all at once: servers that start together would all look at the same moment.
        self.next_at = time.monotonic() + chance.uniform(1, INTERVAL / 4)
        self._store = store
        self._retention = retention
        self._behind = False
        # Where to go on, past runs that recurring jobs keep. From the start again now and then,
        # since one may keep fewer.
        self._places: dict[JobState, Place] = {}
        self._places_until = 0.0
        self._surplus_after: str | None = None

    def perform(self, connection: sa.Connection) -> None:
        """Delete one chunk of each kind, if it is this server's turn."""
        self.next_at = time.monotonic() + INTERVAL * chance.uniform(0.5, 1.0)
        if not self._behind and not self._store.chores.take_turn(connection, "clean", INTERVAL):
            return
        if not self._behind:
            self._surplus_after = ""
        # One chunk a time, so that a beat or a tick that falls due meanwhile is not kept waiting.
        self._behind = self._clean(connection)
        if self._behind:
            self.next_at = time.monotonic() + 0.05

    def _clean(self, connection: sa.Connection) -> bool:
        if time.monotonic() >= self._places_until:
            self._places.clear()
            self._places_until = time.monotonic() + ANEW
        kept = {
            JobState.SUCCEEDED: self._retention.succeeded,
            JobState.FAILED: self._retention.failed,
            JobState.DELETED: self._retention.deleted,
        }
        more = False
        for state, age in kept.items():
            if age is not None:
                place = self._places.setdefault(state, Place())
                more |= self._store.jobs.purge_chunk(connection, state, age, place)[1]
        if self._surplus_after is not None:
            _, self._surplus_after = self._store.jobs.purge_surplus(connection, self._surplus_after)
            more |= self._surplus_after is not None
        if not more:
            self._clean_the_rest(connection)
        return more

    def _clean_the_rest(self, connection: sa.Connection) -> None:
        store = self._store
        strays = store.servers.strays(connection)
        if strays:
            rescue = store.servers.rescue(connection, strays)
            logger.warning("%d jobs of stopped servers will run again.", rescue.requeued)
        with store.database.driver.transaction(connection):
            if self._retention.statistics is not None:
                store.statistics.purge(connection, self._retention.statistics)
                store.recurring.purge_ticks(connection, self._retention.statistics)
            if self._retention.audit is not None:
                store.audit.purge(connection, self._retention.audit)
            store.servers.purge(connection)
            store.manifests.purge(connection)
