"""The seam between the store and what differs by dialect.

Everything that is read or written now and then is SQLAlchemy Core in one file for each noun, the
same for both dialects. A driver holds the rest: connections, transactions, notifications,
liveness, and the few statements that decide how fast the whole is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

from .claim import LOST_LIMIT, Claimed, Lane, LaneDiscovery
from .completion import Failure, Success
from .notification import Notification
from .records import Accepted, ConsoleRow, NewJob, Tally, TickWrite
from .spool import Chunk


class Driver(Protocol):
    """What the store and the server ask of a dialect. Connections are in autocommit mode."""

    name: str

    now: str
    """The database's time, as SQL."""

    def prepare(self, connection: sa.Connection) -> None:
        """Set up what belongs to the database file or server, before the tables exist."""

    def migrating(self, connection: sa.Connection, schema: str) -> AbstractContextManager[None]:
        """A transaction in which this process alone may change the tables."""

    def create_schema(self, connection: sa.Connection, schema: str) -> None:
        """Create the namespace of the tables, where there is such a thing."""

    def transaction(self, connection: sa.Connection) -> AbstractContextManager[None]:
        """One transaction around the block."""

    def reading(self, connection: sa.Connection, timeout: float) -> AbstractContextManager[None]:
        """One transaction that only reads, and gives up what takes longer than the timeout."""

    def limit(self, connection: sa.Connection, timeout: float) -> None:
        """Give up what takes, or waits for, longer than so many seconds in this transaction."""

    def writing(self, connection: sa.Connection) -> AbstractContextManager[None]:
        """Around a single statement that writes and commits by itself."""

    def exclude(self, connection: sa.Connection, section: str) -> None:
        """Let no other transaction into the section of this name until the present one ends."""

    def codec(self, connection: sa.Connection) -> str | None:
        """Python's codec for the text that the database can hold; None if that is all there is.

        Raises ``StoreUnusable`` for a database that can't hold text.
        """

    def carried_codec(self, connection: sa.Connection) -> str | None:
        """The same for the text that comes through this connection, and out of it, as it is."""

    def adopt(self, connection: sa.Connection, role: str, statement_timeout: float) -> None:
        """Make a fresh connection one of the server's own."""

    def abort(self, driver: Any) -> None:
        """From another thread, make what runs on the driver's connection fail."""

    def abandon(self, driver: Any) -> None:
        """In a forked child, give up its share in the parent's connection; nothing is sent."""

    def is_idle(self, connection: sa.Connection) -> bool:
        """True if nothing is under way on the connection, and no transaction is open."""

    def ping(self, connection: sa.Connection) -> None:
        """Make sure that the other end still answers."""

    def before_fork(self) -> None:
        """Hold back writes of other threads, where a child would inherit one that is under way."""

    def after_fork_in_parent(self) -> None:
        """Let them go on."""

    def after_fork(self) -> None:
        """Forget, in a child process, what belongs to the parent."""

    def describe(self, connection: sa.Connection, url: sa.URL) -> str:
        """Name and version of the database, without secrets."""

    # -- jobs

    def insert(
        self, connection: sa.Connection, job: NewJob, notification: Notification | None
    ) -> Any:
        """Write one job, with a notification if it is due; None if its key is taken already.

        The row is ``(id, created_at, run_at)``, its times in microseconds since 1970.
        """

    def insert_over(self, borrowed: Any, job: NewJob, notification: Notification | None) -> Any:
        """As ``insert``, over a connection that ``Database.lend`` gave."""

    def insert_many(self, connection: sa.Connection, chunk: Chunk) -> list[int]:
        """Write jobs and return their ids in the same order; a taken key gives its job's id.

        Call it within a transaction. The connection may be the application's own, over another
        driver than this package's.
        """

    def write_ticks(self, connection: sa.Connection, due: Sequence[TickWrite]) -> None:
        """Write each tick and its job, unless the tick exists, and move its recurring job on.

        Those of one recurring job follow one another, oldest first.
        """

    def discover_lanes(self, connection: sa.Connection) -> LaneDiscovery:
        """All lanes in which jobs wait, without reading the jobs."""

    def claim(
        self,
        connection: sa.Connection,
        *,
        server_id: int,
        lanes: Sequence[Lane],
        tasks: Sequence[str],
        limit: int,
        lost_below: int = LOST_LIMIT,
    ) -> list[Claimed]:
        """Take up to ``limit`` due jobs, lane by lane, in the order they are to be run.

        :param lost_below: take only jobs that have lost fewer servers than that.
        """

    def release(self, connection: sa.Connection, jobs: Sequence[tuple[int, int]]) -> int:
        """Put claimed jobs that did not begin, as (id, claim), back as if never taken.

        One that was deleted meanwhile is marked so instead. Returns how many were still held.
        """

    def complete(
        self,
        connection: sa.Connection,
        successes: Sequence[Success],
        failures: Sequence[Failure],
        entries: Sequence[ConsoleRow],
        tallies: Iterable[Tally],
        server_id: int,
    ) -> Accepted:
        """Write how runs ended, their console and the counts, all or nothing.

        May be repeated after an error whose cause left it open whether the first was committed.
        """

    # -- notifications

    def notify(self, connection: sa.Connection, notification: Notification) -> None:
        """Notify other processes: at once, or with the transaction if one is open."""

    def listen(self, connection: sa.Connection) -> None:
        """Begin to receive notifications on this connection."""

    def receive(self, connection: sa.Connection, timeout: float) -> list[Notification]:
        """Wait up to ``timeout`` seconds for notifications."""

    # -- signs of life

    def presence(
        self, connection: sa.Connection, server_id: int, beside: Iterable[str] = ()
    ) -> str | None:
        """What proves to others that this process is alive, for as long as it lives.

        :param beside: what the process's other connections have as ``info["presence"]``.
        """

    def gone(self, connection: sa.Connection, presence: Sequence[str]) -> set[str]:
        """Those of the given that belong to a process that certainly lives no more."""

    def end_liveness(self) -> None:
        """Give up the sign of life, at an orderly stop."""
