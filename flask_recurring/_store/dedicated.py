"""A connection of one server thread, beside every pool."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import sqlalchemy as sa

from .driver import Driver
from .engine import INHERITED
from .errors import ErrorKind

_HARMLESS = {
    ErrorKind.BUSY,
    ErrorKind.DATA,
    ErrorKind.FORBIDDEN,
    ErrorKind.FULL,
    ErrorKind.MISSING,
    ErrorKind.SLOW,
}
"""What the database says of a statement, and not of the connection that it came by."""


class Opener(Protocol):
    """What a link asks of its database."""

    driver: Driver
    engine: sa.Engine
    statement_timeout: float

    def open(self, role: str, reached: Callable[[Any], None]) -> sa.Connection:
        """Open a connection; see ``Database.open``."""


class DedicatedConnection:
    """A connection of one server thread: opened on demand, dropped when it is not in order.

    ``overdue`` lets a watchdog see that a statement has not come back in time, and ``abort`` makes
    it come back with an error: a peer that went away without a word is not waited for.
    """

    def __init__(self, database: Opener, role: str) -> None:
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
        except BaseException as error:
            if not self._survives(error):
                self.close()
            raise
        finally:
            self._deadline = None

    def _survives(self, error: BaseException) -> bool:
        """True if the connection is in order after this error: idle, and not its cause."""
        connection = self._connection
        if connection is None or connection.invalidated or connection.closed:
            return False
        if not isinstance(error, Exception) or not self._database.driver.is_idle(connection):
            return False
        if isinstance(error, sa.exc.DBAPIError | self._database.engine.dialect.loaded_dbapi.Error):
            return ErrorKind.of(error) in _HARMLESS
        return True

    def _reached(self, driver: Any) -> None:
        # Known before the first statement, which may hang like any other.
        self._driver = driver

    @property
    def overdue(self) -> bool:
        """True if a statement has run for longer than the database would let it."""
        deadline = self._deadline
        return deadline is not None and time.monotonic() > deadline

    def abort(self) -> None:
        """Make a statement that hangs fail at once. Called by another thread."""
        driver = self._driver
        if driver is not None:
            self._database.driver.abort(driver)

    def after_fork(self) -> None:
        """In a child process, let go of the parent's connection without a word to the database.

        While a child holds its socket the database takes the parent for alive, and what a parent
        that was killed has held is run nowhere.
        """
        connection, self._connection = self._connection, None
        driver, self._driver = self._driver, None
        self.presence = None
        if driver is not None:
            INHERITED.extend((connection, driver))
            self._database.driver.abandon(driver)

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
            with suppress(Exception):
                connection.invalidate()
            with suppress(Exception):
                connection.close()
        if driver is not None:
            with suppress(Exception):
                driver.close()
