"""Where the tables are and how one gets a connection to them.

Two kinds of connection. The *client's* come from a pool: enqueuing, the dashboard, the command
line. The *server's own* (``Link``) are opened one by one, kept by a thread, and dropped at the
first error; they never compete with the application for a place in its pool.
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import NullPool

from ..errors import ConfigurationError, RecurringError
from .schema import Tables
from .types import current

if TYPE_CHECKING:
    from .driver import Driver


AUTOCOMMIT = "AUTOCOMMIT"

COMMITS = "flask_recurring_commits"
"""Execution option of an engine whose connections commit each statement from the start. To turn
others to that, and back, at each checkout takes a tenth of the time of an insert."""

SEEN = "flask_recurring.seen"
"""Key, in a pooled connection's info, of the moment it was first used."""


class StoreUnavailable(RecurringError):
    """The database can't be reached, went away during the call, or takes no writes."""


class Database:
    """One database with the tables of one schema in it.

    :param engine: where connections come from; ``own`` says that nobody else uses it.
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
        from .postgresql import PostgreSQL
        from .sqlite import SQLite

        self.schema = schema
        self.bare_engine = engine
        self._commits: bool = engine.get_execution_options().get(COMMITS, False)
        self.engine = (
            engine if self._commits else engine.execution_options(isolation_level=AUTOCOMMIT)
        )
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
        # A pool of its own kind and size, fed by the same creator: links never wait for the
        # application's connections, and never use them up.
        self._link_engine = sa.Engine(
            engine.pool.recreate(), engine.dialect, engine.url
        ).execution_options(isolation_level=AUTOCOMMIT)
        self._refused_at = -math.inf
        """When a connection of the pool last turned out to be one that may only read."""
        self._opening = threading.local()
        sa.event.listen(self._link_engine, "connect", self._reached, insert=True)
        self._ready = False
        self._preparing = threading.Lock()

    @property
    def prepared(self) -> bool:
        """Whether this process has seen to the tables."""
        return self._ready

    def prepare(self) -> None:
        """Create or migrate the tables, once per process. Raises ``StoreUnavailable``."""
        if self._ready:
            return
        from .migrations import migrate

        with self._preparing:
            if not self._ready:
                migrate(self)
                self._ready = True

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """A pooled connection in which each statement commits by itself."""
        try:
            with self.engine.connect() as connection:
                # Those that are older than a refusal to write are not asked for one each.
                while connection.info.setdefault(SEEN, time.monotonic()) < self._refused_at:
                    connection.invalidate()
                try:
                    yield connection
                except sa.exc.DBAPIError as error:
                    unavailable = self._unavailable(error.orig, connection.invalidate)
                    if unavailable is not None:
                        raise unavailable from error
                    raise
                except self.engine.dialect.loaded_dbapi.Error as error:
                    # From a hand-written statement, which goes past SQLAlchemy.
                    driver = (
                        None if connection.invalidated else connection.connection.dbapi_connection
                    )
                    raise self._known(error, driver, connection.invalidate) from error
        except sa.exc.DBAPIError as error:
            # No statement: it failed to connect. Invalidated: the connection was lost on the way.
            if error.statement is None or error.connection_invalidated:
                raise StoreUnavailable(
                    f"the job database can't be reached: {error.orig}"
                ) from error
            raise

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A pooled connection with one transaction around the block."""
        with self.connect() as connection, self.driver.transaction(connection):
            yield connection

    @contextmanager
    def lend(self) -> Iterator[Any]:
        """A pooled connection as the driver knows it, in which each statement commits by itself.

        For the one statement of an ``enqueue``, for which SQLAlchemy's own ``Connection`` takes a
        fifth of the time. Only an engine of our own commits from the start.
        """
        if not self._commits:
            with self.connect() as connection:
                yield connection.connection.dbapi_connection
            return
        loan = self._borrow()
        try:
            yield loan.dbapi_connection
        except self.engine.dialect.loaded_dbapi.Error as error:
            raise self._known(error, loan.dbapi_connection, loan.invalidate) from error
        finally:
            loan.close()

    def _borrow(self) -> sa.PoolProxiedConnection:
        pool = self.engine.pool
        try:
            loan = pool.connect()
            while loan.info.setdefault(SEEN, time.monotonic()) < self._refused_at:
                loan.invalidate()
                loan.close()
                loan = pool.connect()
        except self.engine.dialect.loaded_dbapi.Error as error:
            raise StoreUnavailable(f"the job database can't be reached: {error}") from error
        return loan

    def _known(self, error: Exception, driver: Any, invalidate: Callable[[], None]) -> Exception:
        """The driver's error as callers can tell it by its name, whichever driver it is of.

        :param driver: the driver's connection; None if it was given up.
        :param invalidate: takes the connection out of the pool.
        """
        dialect = self.engine.dialect
        if dialect.is_disconnect(error, driver, None):  # type: ignore[arg-type]
            quietly(invalidate)
            return StoreUnavailable(f"the job database can't be reached: {error}")
        unavailable = self._unavailable(error, invalidate)
        if unavailable is not None:
            return unavailable
        return sa.exc.DBAPIError.instance("", (), error, dialect.loaded_dbapi.Error)

    def _unavailable(
        self, error: BaseException | None, invalidate: Callable[[], None]
    ) -> StoreUnavailable | None:
        """What callers are told if it is the error of a database that can't be written to now.

        A connection that was opened while a database or role was set to be read-only stays so for
        its life, and so does one to a server that has become a standby: none of them is used again.
        """
        if takes_no_writes(error):
            quietly(invalidate)
            self._refused_at = time.monotonic()
            return StoreUnavailable(f"the job database takes no writes: {error}")
        if is_busy(error):
            return StoreUnavailable(f"the job database is held by another process: {error}")
        return None

    def clock(self, connection: sa.Connection) -> datetime:
        """The database's own time. The host's is never used: hosts differ."""
        return connection.execute(sa.select(current())).scalar_one()

    def insert(self, table: sa.Table) -> Any:
        """An insert of the dialect's own, which knows ``ON CONFLICT``."""
        dialect = postgresql if self.driver.name == "postgresql" else sqlite
        return dialect.insert(table)

    def link(self, role: str) -> Link:
        """A connection of the server's own, opened when it is first used."""
        return Link(self, role)

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
        self.bare_engine.dispose(close=False)
        self._link_engine.dispose(close=False)
        self._preparing = threading.Lock()
        self.driver.after_fork()

    def close(self) -> None:
        """Close what this object opened itself."""
        self._link_engine.dispose()


class Link:
    """A connection of one server thread: opened on demand, dropped at the first error.

    ``overdue`` lets a watchdog see that a statement has not come back in time, and ``abort`` makes
    it come back with an error: a peer that went away without a word is not waited for.
    """

    def __init__(self, database: Database, role: str) -> None:
        self.role = role
        self.presence: str | None = None
        """What the connection says to others of the life of this process, while it stands."""
        self._database = database
        self._connection: sa.Connection | None = None
        self._driver: Any = None
        self._owner = os.getpid()
        self._deadline: float | None = None
        # The database itself gives up a statement after its timeout; what takes longer is lost.
        self._patience = database.statement_timeout + 3.0

    @contextmanager
    def use(self, *, patience: float | None = None) -> Iterator[sa.Connection]:
        """The connection, for statements of the thread that owns this link.

        :param patience: seconds that the block may take, infinite if it waits for something to
            happen; by default a little longer than the database lets a statement take.
        """
        self._deadline = time.monotonic() + (self._patience if patience is None else patience)
        try:
            if self._connection is None:
                self._connection = self._database.open(self.role, self._reached)
                self.presence = self._connection.info.get("presence")
            yield self._connection
        except BaseException:
            self.close()
            raise
        finally:
            self._deadline = None

    def _reached(self, driver: Any) -> None:
        # Known before the first statement, which may hang like any other.
        self._driver = driver

    @property
    def overdue(self) -> bool:
        """Whether a statement has been going on for longer than the database would let it."""
        deadline = self._deadline
        return deadline is not None and time.monotonic() > deadline

    def abort(self) -> None:
        """Make a statement that hangs fail at once. Called by another thread."""
        driver = self._driver
        if driver is not None:
            self._database.driver.abort(driver)

    def close(self) -> None:
        """Drop the connection; the next use opens a new one."""
        self.presence = None
        connection, self._connection = self._connection, None
        driver, self._driver = self._driver, None
        if self._owner != os.getpid():
            return
        if connection is not None:
            # Invalidated first: closing alone would try to roll back what may be broken. It only
            # forgets the driver's connection, since that belongs to no pool.
            quietly(connection.invalidate)
            quietly(connection.close)
        if driver is not None:
            quietly(driver.close)


def takes_no_writes(error: BaseException | None) -> bool:
    """Whether it is PostgreSQL's error for writing in a session that may only read."""
    return getattr(error, "sqlstate", None) == "25006"


def is_busy(error: BaseException | None) -> bool:
    """Whether it is SQLite's error for a file that others have held for too long."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def quietly(call: Callable[[], Any]) -> None:
    """Call it, for the clean-up of what may be broken already."""
    try:
        call()
    except Exception:
        return


def create_engine(
    url: str | sa.URL,
    *,
    factory: Callable[[], Any] | None = None,
    connect_timeout: float = 5.0,
) -> sa.Engine:
    """An engine of this package's own. Its connections commit each statement by itself.

    :param url: ``postgresql+psycopg://…`` or ``sqlite:///…``.
    :param factory: returns a new psycopg connection, instead of the address in ``url``.
    :param connect_timeout: seconds to wait for PostgreSQL to answer.
    """
    address = sa.make_url(url)
    commits: dict[str, Any] = {
        "isolation_level": AUTOCOMMIT,
        "execution_options": {COMMITS: True},
    }
    if address.get_backend_name() == "sqlite":
        return sa.create_engine(address, poolclass=NullPool if factory else None, **commits)
    from .postgresql import connect_arguments, discard_stale, heed_pooler

    engine = sa.create_engine(
        address,
        pool_size=5,
        max_overflow=20,
        **commits,
        **(
            {"creator": factory}
            if factory is not None
            else {"connect_args": connect_arguments(connect_timeout)}
        ),
    )
    sa.event.listen(engine, "connect", heed_pooler)
    sa.event.listen(engine, "checkout", discard_stale)
    return engine
