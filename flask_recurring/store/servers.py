"""Servers: signing on, beating, and taking over what a dead one left behind.

**When is a server dead?** When what proves its life is gone (its backend in PostgreSQL, its lock on
SQLite's file) *and* it has missed a beat; or, where that can't be told, when it was silent for the
long timeout. So a process that is killed is noticed within seconds, and one that merely can't get
to a beat, because a job holds the interpreter, is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from .claim import LOST_LIMIT
from .completion import Outcome
from .database import Database
from .types import now

KEPT = 7 * 86400.0
"""Seconds that a server's row is kept after it stopped, to name who ran a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewServer:
    """A process that signs on."""

    name: str
    host: str
    pid: int
    application: str
    version: str
    threads: int
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    manifest: str | None = None
    """Key of what it declares: see ``manifests``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """A live server, as one reads it."""

    id: int
    name: str
    host: str
    pid: int
    application: str
    version: str
    threads: int
    busy: int
    queues: list[str]
    started_at: datetime
    beat_at: datetime
    silent: bool
    """Whether it has missed several beats."""


@dataclass(frozen=True, slots=True)
class Others:
    """The other servers on the database."""

    live: int
    dead: list[int]
    """Ids of those that are dead and not signed off yet."""


@dataclass(frozen=True, slots=True)
class Rescue:
    """What was done about servers that died."""

    servers: list[str]
    requeued: int
    parked: int
    """Jobs that failed for good, since every server that ran them died."""


class Servers:
    """The server table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._server = database.tables.server

    def sign_on(self, connection: sa.Connection, new: NewServer) -> int:
        """Write a server's row and return its id."""
        statement = (
            sa.insert(self._server)
            .values(
                name=new.name,
                host=new.host,
                pid=new.pid,
                application=new.application,
                version=new.version,
                threads=new.threads,
                queues=msgspec.json.encode(new.queues).decode(),
                tasks=msgspec.json.encode(new.tasks).decode(),
                manifest=new.manifest,
                started_at=now(),
                beat_at=now(),
            )
            .returning(self._server.c.id)
        )
        with self._database.driver.writing(connection):
            server_id = connection.execute(statement).scalar_one()
        self.beat(connection, server_id, busy=0)
        return int(server_id)

    def beat(
        self, connection: sa.Connection, server_id: int, busy: int, beside: Iterable[str] = ()
    ) -> bool:
        """Say that the server lives; False if it was taken for dead and must sign on anew.

        :param beside: the ``presence`` of its other links.
        """
        presence = self._database.driver.presence(connection, server_id, beside)
        statement = (
            sa.update(self._server)
            .where(self._server.c.id == server_id, self._server.c.stopped_at.is_(None))
            .values(beat_at=now(), busy=busy, presence=presence)
        )
        with self._database.driver.writing(connection):
            return connection.execute(statement).rowcount == 1

    def declare(self, connection: sa.Connection, server_id: int, manifest: str) -> None:
        """Say that the server declares something else from now on."""
        with self._database.driver.writing(connection):
            connection.execute(
                sa.update(self._server)
                .where(self._server.c.id == server_id)
                .values(manifest=manifest)
            )

    def sign_off(self, connection: sa.Connection, server_id: int) -> None:
        """Say that the server has stopped in order and holds no job."""
        with self._database.driver.writing(connection):
            connection.execute(
                sa.update(self._server)
                .where(self._server.c.id == server_id)
                .values(stopped_at=now(), busy=0)
            )
        self._database.driver.release()

    def others(
        self, connection: sa.Connection, server_id: int, missed: float, timeout: float
    ) -> Others:
        """How many other servers are live, and which of them are dead.

        :param missed: seconds of silence after which the sign of life is looked at.
        :param timeout: seconds of silence that mean death whatever the sign of life.
        """
        server = self._server.c
        rows = connection.execute(
            sa.select(
                server.id,
                server.presence,
                server.beat_at < now(-missed),
                server.beat_at < now(-timeout),
            ).where(server.stopped_at.is_(None), server.id != server_id)
        ).all()
        silent = [row for row in rows if row[2]]
        known = [row.presence for row in silent if row.presence is not None]
        gone = self._database.driver.gone(connection, known) if known else set()
        dead = [row.id for row in silent if row[3] or row.presence in gone]
        return Others(len(rows) - len(dead), dead)

    def rescue(self, connection: sa.Connection, dead: Sequence[int]) -> Rescue:
        """Sign dead servers off and let their jobs run again, before newer ones.

        A job that has lost its server ``LOST_LIMIT`` times is parked as Failed: it is probably
        what kills them.
        """
        server = self._server.c
        with self._database.driver.transaction(connection):
            names = (
                connection.execute(
                    sa.update(self._server)
                    .where(server.id.in_(dead), server.stopped_at.is_(None))
                    .values(stopped_at=now(), busy=0)
                    .returning(server.name)
                )
                .scalars()
                .all()
            )
            lost = self._take_back(connection, dead)
        parked = sum(row.state == "Failed" for row in lost)
        return Rescue(list(names), len(lost) - parked, parked)

    def strays(self, connection: sa.Connection) -> list[int]:
        """Ids of servers that have stopped and yet hold jobs: a claim crossed the sign-off."""
        job = self._database.tables.job.c
        return list(
            connection.execute(
                sa.select(self._server.c.id)
                .where(
                    self._server.c.stopped_at.is_not(None),
                    self._server.c.id.in_(
                        sa.select(job.server_id).where(job.server_id.is_not(None))
                    ),
                )
                .limit(100)
            ).scalars()
        )

    def purge(self, connection: sa.Connection) -> None:
        """Forget servers that stopped long ago and hold no job."""
        job = self._database.tables.job.c
        connection.execute(
            sa.delete(self._server).where(
                self._server.c.stopped_at < now(-KEPT),
                ~sa.exists().where(job.server_id == self._server.c.id, job.server_id.is_not(None)),
            )
        )

    def _take_back(self, connection: sa.Connection, dead: Sequence[int]) -> Sequence[sa.Row[Any]]:
        job, attempt = self._database.tables.job.c, self._database.tables.attempt
        exceeded = job.lost + 1 >= LOST_LIMIT
        done = exceeded | job.cancel_requested
        message = "its server died while it ran"
        lost = connection.execute(
            sa.update(self._database.tables.job)
            .where(job.server_id.in_(dead), job.state == "Processing")
            .values(
                state=sa.case(
                    (job.cancel_requested, "Deleted"), (exceeded, "Failed"), else_="Enqueued"
                ),
                lost=job.lost + 1,
                server_id=None,
                finished_at=sa.case((done, now())),
                error=sa.case(
                    (exceeded, f"ServerLost: {message}, {LOST_LIMIT} times in all"),
                    else_=f"ServerLost: {message}",
                ),
            )
            .returning(job.id, job.claim, job.attempt, job.started_at, job.ran_on, job.state)
        ).all()
        if lost:
            connection.execute(
                sa.insert(attempt),
                [
                    {
                        "job_id": row.id,
                        "claim": row.claim,
                        "attempt": row.attempt,
                        "outcome": Outcome.LOST.value,
                        "started_at": row.started_at,
                        "finished_at": self._database.clock(connection),
                        "server_id": row.ran_on,
                        "error_type": "ServerLost",
                        "message": message,
                    }
                    for row in lost
                ],
            )
            # Only now, since an update returns what it has written.
            waiting = [row.id for row in lost if row.state == "Enqueued"]
            connection.execute(
                sa.update(self._database.tables.job)
                .where(job.id.in_(waiting))
                .values(started_at=None)
            )
        return lost

    def live(self, silent_after: float = 30.0) -> list[ServerInfo]:
        """All servers that have not stopped, oldest first."""
        server = self._server.c
        statement = (
            sa.select(self._server, (server.beat_at < now(-silent_after)).label("silent"))
            .where(server.stopped_at.is_(None))
            .order_by(server.id)
        )
        with self._database.connect() as connection:
            rows = connection.execute(statement).all()
        return [
            ServerInfo(
                id=row.id,
                name=row.name,
                host=row.host,
                pid=row.pid,
                application=row.application,
                version=row.version,
                threads=row.threads,
                busy=row.busy,
                queues=msgspec.json.decode(row.queues),
                started_at=row.started_at,
                beat_at=row.beat_at,
                silent=bool(row.silent),
            )
            for row in rows
        ]
