"""Where the tables are and how one gets a connection to them.

Two kinds of connection. The *client's* come from a pool: enqueuing, the dashboard, the command
line. The *server's own* (``Link``) are opened one by one, kept by a thread, and dropped when they
are not in order; they never compete with the application for a place in its pool.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..errors import ConfigurationError
from .dedicated import DedicatedConnection
from .driver import Driver
from .engine import AUTOCOMMIT, INHERITED, beside, in_memory
from .migrations import complete, migrate
from .pool import Pool
from .postgresql import PostgreSQL
from .schema import Tables
from .sqlite import SQLite
from .types import current
from .visit import Visit, present


class Database:
    """One database with the tables of one schema in it.

    :param engine: where connections come from: the application's, or one of ``create_engine``.
    :param schema: name of the PostgreSQL schema, or the prefix of SQLite's tables.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        schema: str = "flask_recurring",
        bind_key: str | None = None,
        statement_timeout: float = 10.0,
    ) -> None:
        self.schema = schema
        self.bare_engine = engine
        self.tables = Tables(engine.dialect.name, schema, bind_key)
        self.statement_timeout = statement_timeout
        self.driver: Driver
        if engine.dialect.name == "postgresql":
            self.driver = PostgreSQL(self.tables)
        elif engine.dialect.name == "sqlite":
            self.driver = SQLite(self.tables)
        else:
            raise ConfigurationError(
                f"jobs are kept in PostgreSQL or SQLite, not in {engine.dialect.name!r}; "
                "set RECURRING_DATABASE_URL to one of them"
            )
        self._pool = Pool(engine)
        self.engine = self._pool.engine
        # A pool of its own kind and size, fed by the same creator: links never wait for the
        # application's connections, and never use them up.
        self._link_engine = sa.Engine(
            engine.pool.recreate(), engine.dialect, engine.url
        ).execution_options(isolation_level=AUTOCOMMIT)
        self._opening = threading.local()
        sa.event.listen(self._link_engine, "connect", self._reached, insert=True)
        self._dedicated: WeakSet[DedicatedConnection] = WeakSet()
        self.codec: str | None = None
        """Python's codec for the text that the database can hold; None if that is all there is.
        Known once the tables are prepared."""
        self.carried_codec: str | None = None
        """The same for what the application's connections can carry to it."""
        self._ready = False
        self._preparing = threading.Lock()

    @property
    def prepared(self) -> bool:
        """True if this process has made sure of the tables."""
        return self._ready

    def prepare(self) -> None:
        """Create or migrate the tables, once per process.

        Raises ``StoreUnavailable`` and ``StoreUnusable``.
        """
        if self._ready:
            return
        with self._preparing:
            if not self._ready:
                self._look()
                migrate(self)
                self._ready = True

    def complete(self) -> None:
        """Create what is missing of the tables, also where ``prepare`` has seen to them before."""
        with self._preparing:
            self._look()
            complete(self)
            self._ready = True

    def _look(self) -> None:
        """See what text the database can hold, and by which connections it gets there."""
        with self.pooled() as connection:
            self.codec = self.driver.codec(connection)
            self.carried_codec = self.driver.carried_codec(connection)
        if self.carried_codec is not None and not self._pool.own:
            self._pool = Pool(beside(self.bare_engine))
            self.engine = self._pool.engine

    def connect(self) -> AbstractContextManager[sa.Connection]:
        """A pooled connection in which each statement commits by itself; the visit's in a visit."""
        visit = present(self)
        return self.pooled() if visit is None else visit.connect()

    def pooled(self) -> AbstractContextManager[sa.Connection]:
        """A pooled connection in which each statement commits by itself, in any case."""
        return self._pool.connect()

    @contextmanager
    def visit(self, timeout: float) -> Iterator[None]:
        """Let what the block reads share a connection and a transaction: see ``visit``.

        :param timeout: seconds that a statement of it may take. What takes longer, or waits for
            longer, ends in ``StoreUnavailable``; so does a transaction that writes.
        """
        if present(self) is not None:
            yield
            return
        with Visit(self, timeout).going_on():
            yield

    def borrow(self) -> AbstractContextManager[Any]:
        """The same as the driver knows it, for one statement: see ``Pool.lend``."""
        return self._pool.borrow()

    def rest(self) -> None:
        """Give the connection of a visit back, if one goes on here, until it reads again."""
        visit = present(self)
        if visit is not None:
            visit.release()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A pooled connection with one transaction around the block."""
        # Two connections for one request could be one too many; and what a visit reads afterwards
        # is to show what was written.
        self.rest()
        visit = present(self)
        with self.pooled() as connection, self.driver.transaction(connection):
            if visit is not None:
                self.driver.limit(connection, visit.timeout)
            yield connection

    def clock(self, connection: sa.Connection) -> datetime:
        """The database's own time. The host's is never used: hosts differ."""
        return connection.execute(sa.select(current())).scalar_one()

    def among(
        self, column: sa.ColumnElement[int], numbers: Sequence[int]
    ) -> sa.ColumnElement[bool]:
        """True of rows whose column is one of many numbers. PostgreSQL gets them as one value: to
        write each by itself takes longer than what is done with them."""
        if self.driver.name != "postgresql":
            return column.in_(numbers)
        array = sa.literal(f"{{{','.join(map(str, numbers))}}}", sa.Text())
        return column == sa.any_(sa.cast(array, postgresql.ARRAY(sa.BigInteger)))

    def insert(self, table: sa.Table) -> Any:
        """An insert of the dialect's own, which knows ``ON CONFLICT``."""
        dialect = postgresql if self.driver.name == "postgresql" else sqlite
        return dialect.insert(table)

    def dedicated(self, role: str) -> DedicatedConnection:
        """A connection of the server's own, opened when it is first used."""
        dedicated = DedicatedConnection(self, role)
        self._dedicated.add(dedicated)
        return dedicated

    def open(
        self, role: str, reached: Callable[[Any], None] = lambda driver: None
    ) -> sa.Connection:
        """Open a connection outside of every pool; ``Link`` calls this.

        :param reached: is given the driver's connection before the first statement.
        """
        self._opening.reached = reached
        connection = self._link_engine.connect()
        connection.detach()
        try:
            self.driver.adopt(connection, role, self.statement_timeout)
        except BaseException:
            connection.close()
            raise
        return connection

    def _reached(self, driver: Any, record: Any) -> None:
        self._opening.reached(driver)

    def after_fork(self) -> None:
        """Forget, in a child process, the connections and locks that belong to the parent."""
        for dedicated in list(self._dedicated):
            dedicated.after_fork()
        for engine in (self.bare_engine, self._link_engine, self.engine):
            # What a database in memory holds was copied with the process, and nobody shares it.
            if not in_memory(engine.url):
                INHERITED.append(engine.pool)
                engine.dispose(close=False)
        self._preparing = threading.Lock()
        self.driver.after_fork()

    def close(self) -> None:
        """Close what this object opened itself."""
        self._link_engine.dispose()
        if self.engine.pool is not self.bare_engine.pool:
            self.engine.dispose()
