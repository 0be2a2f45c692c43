"""Deletes what has been kept for long enough, in small steps.

Each kind of thing is a periodic task of its own, which one server at a time performs. One that
fails keeps no other from being cleaned up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from .._log.logger import logger
from .._random import rng
from .._store import Store
from .._store.chunk import ChunkSize
from .._store.purge import PurgeCursor
from ..job import JobState

INTERVAL = 60.0
"""Seconds between two rounds, of all servers together."""

PAUSE = 0.02
"""Seconds between two steps, at least. Otherwise a quarter of what the last one took."""

ANEW = 3600.0
"""Seconds after which runs that were kept are looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are kept; None for ever."""

    succeeded: timedelta | None
    failed: timedelta | None
    deleted: timedelta | None
    statistics: timedelta | None
    ticks: timedelta | None
    audit: timedelta | None


Step = Callable[[sa.Connection], bool]
"""Deletes a chunk; True if there may be more."""


class Rounds:
    """When the next round is: the same for all, so that the connection is opened once."""

    def __init__(self) -> None:
        # Not all at once: servers that start together would all look at the same time.
        self._next = time.monotonic() + rng.uniform(1, INTERVAL / 4)

    def next(self) -> float:
        """The time, on the monotonic clock."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + INTERVAL * rng.uniform(0.5, 1.0)
        return self._next


class Cleaning:
    """Cleans up one kind of thing. See ``periodic_loop.PeriodicTask``."""

    def __init__(self, store: Store, rounds: Rounds, what: str, step: Step) -> None:
        self.name = f"Cleaning up {what}"
        self.next_at = rounds.next()
        self._locks = store.maintenance_locks
        self._rounds = rounds
        self._turn = f"clean {what}"
        self._step = step
        self._behind = False
        """True from the beginning of a turn to its end."""

    def perform(self, connection: sa.Connection) -> None:
        """Take a step, if it is this server's turn."""
        if not self._behind:
            self._behind = self._locks.take_turn(connection, self._turn, INTERVAL)
        if self._behind:
            before = time.monotonic()
            self._behind = self._step(connection)
            took = time.monotonic() - before
            if self._behind:
                self.next_at = time.monotonic() + max(PAUSE, took / 4)
                return
        self.next_at = self._rounds.next()


def cleanings(store: Store, retention: Retention) -> list[Cleaning]:
    """All that is to be cleaned up."""
    steps: dict[str, Step] = {"strays": _LeakedClaims(store), "surplus runs": _Surplus(store)}
    for state, age in (
        (JobState.SUCCEEDED, retention.succeeded),
        (JobState.FAILED, retention.failed),
        (JobState.DELETED, retention.deleted),
    ):
        if age is not None:
            steps[f"{state.value} jobs"] = _Jobs(store, state, age)
    if retention.statistics is not None:
        steps["statistics"] = store.statistics.expiry(retention.statistics).delete_some
    if retention.ticks is not None:
        steps["ticks"] = store.recurring.tick_expiry(retention.ticks).delete_some
    if retention.audit is not None:
        steps["audit"] = store.audit.expiry(retention.audit).delete_some
    steps["servers"] = store.servers.expiry().delete_some
    steps["manifests"] = store.manifests.expiry().delete_some
    rounds = Rounds()
    return [Cleaning(store, rounds, what, step) for what, step in steps.items()]


class _Jobs:
    """Jobs in one final state."""

    def __init__(self, store: Store, state: JobState, age: timedelta) -> None:
        self._jobs = store.jobs
        self._state = state
        self._age = age
        self._chunk = ChunkSize()
        # Where to go on, past runs that recurring jobs keep. From the start again now and then,
        # since one may keep fewer.
        self._cursor = PurgeCursor()
        self._anew_at = 0.0

    def __call__(self, connection: sa.Connection) -> bool:
        if time.monotonic() >= self._anew_at:
            self._anew_at, self._cursor = time.monotonic() + ANEW, PurgeCursor()
        return self._chunk.take(lambda rows: self._step(connection, rows))

    def _step(self, connection: sa.Connection, rows: int) -> bool:
        return self._jobs.purge_chunk(connection, self._state, self._age, self._cursor, rows)[1]


class _Surplus:
    """Runs beyond those that recurring jobs keep."""

    def __init__(self, store: Store) -> None:
        self._jobs = store.jobs
        self._chunk = ChunkSize()
        self._after: str | None = None

    def __call__(self, connection: sa.Connection) -> bool:
        return self._chunk.take(lambda rows: self._step(connection, rows))

    def _step(self, connection: sa.Connection, rows: int) -> bool:
        _, self._after = self._jobs.purge_surplus(connection, self._after or "", rows)
        return self._after is not None


class _LeakedClaims:
    """Jobs of servers that have stopped: a claim crossed the end."""

    def __init__(self, store: Store) -> None:
        self._servers = store.servers

    def __call__(self, connection: sa.Connection) -> bool:
        leaked = self._servers.leaked(connection)
        if not leaked:
            return False
        rescue = self._servers.rescue(connection, leaked)
        if rescue.requeued:
            logger.warning("%d jobs of stopped servers will run again.", rescue.requeued)
        return rescue.more and rescue.requeued + rescue.parked > 0
