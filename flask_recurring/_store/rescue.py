"""What becomes of the jobs that a dead server held: they run again, before newer ones.

A job that has lost its server ``LOST_LIMIT`` times is parked as Failed: it is probably what kills
them.

A server may have held thousands. So they come in chunks, each a short transaction. The first one
deregisters the server too: should it live after all, it notices at its next heartbeat that what it
holds is no longer its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from .claim import LOST_LIMIT
from .database import Database
from .transitions import Event, Outcome, choose, values
from .types import now

CHUNK = 1_000
"""Jobs that are taken back in one transaction."""

ERROR_TYPE = "ServerLost"
MESSAGE = "its server died while it ran"

EXCEEDED = f"lost + 1 >= {LOST_LIMIT}"
ERROR = (
    f"'{ERROR_TYPE}: {MESSAGE}' || "
    f"CASE WHEN {EXCEEDED} THEN ', {LOST_LIMIT} times in all' ELSE '' END"
)


@dataclass(frozen=True, slots=True)
class Rescue:
    """What was done about servers that died."""

    servers: list[str]
    requeued: int
    parked: int
    """Jobs that failed for good, since every server that ran them died."""
    more: bool = False
    """True if there are more jobs of these servers."""


class LostJobs:
    """Takes jobs back from servers that died."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._job = database.tables.job
        self._attempt = database.tables.attempt
        self._server = database.tables.server

    def take_back(self, connection: sa.Connection, dead: Sequence[int]) -> Rescue:
        """Deregister these servers and let a chunk of their jobs run again."""
        with self._database.driver.transaction(connection):
            names = self._deregister(connection, dead)
            ids = self._held(connection, dead)
            states = self._requeue(connection, ids) if ids else []
        parked = states.count(Event.PARKED.target)
        return Rescue(names, len(states) - parked, parked, self._is_left(connection, dead))

    def _deregister(self, connection: sa.Connection, dead: Sequence[int]) -> list[str]:
        server = self._server.c
        statement = (
            sa.update(self._server)
            .where(server.id.in_(dead), server.stopped_at.is_(None))
            .values(stopped_at=now(), busy=0)
            .returning(server.name)
        )
        return list(connection.execute(statement).scalars())

    def _held(self, connection: sa.Connection, dead: Sequence[int]) -> list[int]:
        # Nobody waits here for a row that is locked: others rescue at the same time, or its server
        # lives and is just writing how the job ended.
        job = self._job.c
        statement = (
            sa.select(job.id)
            .where(job.server_id.in_(dead), Event.LOST.leaves(job.state))
            .limit(CHUNK)
            .with_for_update(skip_locked=True)
        )
        return list(connection.execute(statement).scalars())

    def _requeue(self, connection: sa.Connection, ids: Sequence[int]) -> list[str]:
        job = self._job.c
        lost = sa.select(
            *(job.id, job.claim, job.attempt, sa.literal(Outcome.LOST.value)),
            *(job.started_at, now(), job.ran_on, sa.literal(ERROR_TYPE), sa.literal(MESSAGE)),
        ).where(self._database.among(job.id, ids))
        columns = (
            *("job_id", "claim", "attempt", "outcome"),
            *("started_at", "finished_at", "server_id", "error_type", "message"),
        )
        connection.execute(sa.insert(self._attempt).from_select(columns, lost))
        statement = (
            sa.update(self._job)
            .where(self._database.among(job.id, ids))
            .values(
                values(
                    choose(EXCEEDED, Event.PARKED.unless_stopped, Event.LOST.unless_stopped),
                    began="started_at",
                    ended=self._database.driver.now,
                    error=ERROR,
                )
            )
            .returning(job.state)
        )
        return list(connection.execute(statement).scalars())

    def _is_left(self, connection: sa.Connection, dead: Sequence[int]) -> bool:
        job = self._job.c
        statement = sa.select(job.id).where(job.server_id.in_(dead), Event.LOST.leaves(job.state))
        return connection.execute(statement.limit(1)).first() is not None
