"""Servers: signing on, beating, and taking over what a dead one left behind.

**When is a server dead?** When what proves its life is gone (its backend in PostgreSQL, its lock on
SQLite's file) *and* it has missed a beat; or, where that can't be told, when it was silent for the
long timeout. So a process that is killed is noticed within seconds, and one that merely can't get
to a beat, because a job holds the interpreter, is left alone.

**How long may it be silent?** Each server says so itself: with every heartbeat it writes when the
next one is overdue and when its lease ends, by the database's clock. Applications with other
settings judge it by that. The rows of servers of an older version have no such times; these are
judged by the settings of whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import sqlalchemy as sa

from .database import Database
from .expiry import Expiry
from .rescue import LostJobs, Rescue
from .types import now

SILENT = 30.0
"""Seconds after which a server is shown as silent whose row doesn't say when it is."""

KEPT = 7 * 86400.0
"""Seconds that a server's row is kept after it stopped, to name who ran a job."""


@dataclass(frozen=True, slots=True)
class Lease:
    """How long a server may be silent, in seconds."""

    overdue: float = 5.0
    """After so long it has missed a heartbeat."""
    ends: float = 120.0
    """After so long it is dead, whatever proves its life."""


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
    lease: Lease = Lease()


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
    """True if its heartbeat is overdue."""
    lease: float | None
    """Seconds that it may be silent before it is dead; None if its older version doesn't say."""


@dataclass(frozen=True, slots=True)
class Others:
    """The other servers on the database."""

    live: int
    dead: list[int]
    """Ids of those that are dead and not signed off yet."""
    manifests: frozenset[str | None] = frozenset()
    """Keys of what they declare, live or dead."""


class Servers:
    """The server table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._server = database.tables.server
        self._lost_jobs = LostJobs(database)

    def register(self, connection: sa.Connection, new: NewServer) -> int:
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
                overdue_at=now(new.lease.overdue),
                lease_ends_at=now(new.lease.ends),
            )
            .returning(self._server.c.id)
        )
        # All or nothing: a row of which nobody heard would be that of a server that never was.
        with self._database.driver.transaction(connection):
            server_id = connection.execute(statement).scalar_one()
            self.heartbeat(connection, server_id, busy=0, lease=new.lease)
        return int(server_id)

    def heartbeat(
        self,
        connection: sa.Connection,
        server_id: int,
        busy: int,
        lease: Lease = Lease(),
        beside: Iterable[str] = (),
    ) -> bool:
        """Say that the server lives; False if it was taken for dead and must sign on anew.

        :param lease: how long it may be silent from now on.
        :param beside: the ``presence`` of its other links.
        """
        presence = self._database.driver.presence(connection, server_id, beside)
        statement = (
            sa.update(self._server)
            .where(self._server.c.id == server_id, self._server.c.stopped_at.is_(None))
            .values(
                beat_at=now(),
                overdue_at=now(lease.overdue),
                lease_ends_at=now(lease.ends),
                busy=busy,
                presence=presence,
            )
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

    def deregister(self, connection: sa.Connection, server_id: int) -> None:
        """Say that the server has stopped in order and holds no job."""
        with self._database.driver.writing(connection):
            connection.execute(
                sa.update(self._server)
                .where(self._server.c.id == server_id)
                .values(stopped_at=now(), busy=0)
            )
        self._database.driver.end_liveness()

    def others(self, connection: sa.Connection, server_id: int, lease: Lease) -> Others:
        """How many other servers are live, and which of them are dead.

        :param lease: how long those may be silent whose rows don't say it.
        """
        server = self._server.c
        rows = connection.execute(
            sa.select(
                *(server.id, server.presence, server.manifest),
                self._overdue(lease.overdue).label("overdue"),
                sa.func.coalesce(
                    server.lease_ends_at < now(), server.beat_at < now(-lease.ends)
                ).label("expired"),
            ).where(server.stopped_at.is_(None), server.id != server_id)
        ).all()
        overdue = [row for row in rows if row.overdue]
        known = [row.presence for row in overdue if row.presence is not None]
        gone = self._database.driver.gone(connection, known) if known else set()
        dead = [row.id for row in overdue if row.expired or row.presence in gone]
        return Others(len(rows) - len(dead), dead, frozenset(row.manifest for row in rows))

    def rescue(self, connection: sa.Connection, dead: Sequence[int]) -> Rescue:
        """Deregister dead servers and let their jobs run again: a chunk, see ``more``."""
        return self._lost_jobs.take_back(connection, dead)

    def leaked(self, connection: sa.Connection) -> list[int]:
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

    def expiry(self) -> Expiry:
        """Servers that stopped long ago and hold no job."""
        server, job = self._server.c, self._database.tables.job.c
        busy = sa.exists().where(job.server_id == server.id, job.server_id.is_not(None))
        old = (server.stopped_at < now(-KEPT)) & ~busy
        return Expiry(self._database, self._server, old, by_age=False)

    def live(self) -> list[ServerInfo]:
        """All servers that have not stopped, oldest first."""
        server = self._server.c
        statement = (
            sa.select(self._server, self._overdue(SILENT).label("silent"))
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
                lease=None
                if row.lease_ends_at is None
                else (row.lease_ends_at - row.beat_at).total_seconds(),
            )
            for row in rows
        ]

    def _overdue(self, otherwise: float) -> sa.ColumnElement[bool]:
        server = self._server.c
        return sa.func.coalesce(server.overdue_at < now(), server.beat_at < now(-otherwise))
