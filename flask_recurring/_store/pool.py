"""Connections of the application's pool, or of our own, lent for a call.

Whatever the database answers with, callers get it by one name: see ``failure``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from .engine import AUTOCOMMIT, COMMITS
from .errors import ErrorKind, for_callers

SEEN = "flask_recurring.seen"
"""Key, in a pooled connection's info, of the moment it was first used."""


class Pool:
    """The connections of one engine, in which each statement commits by itself.

    A connection that was opened while a database or role was set to be read-only stays so for its
    life, and so does one to a server that has become a standby: after the first that refuses to
    write, none that is older is used again.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.own: bool = engine.get_execution_options().get(COMMITS, False)
        """True if nobody else uses the engine: its connections commit from the start."""
        self.engine = engine if self.own else engine.execution_options(isolation_level=AUTOCOMMIT)
        self._driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self._refused_at = -math.inf
        """When a connection last turned out to be one that may only read."""

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """A connection as SQLAlchemy has it."""
        try:
            connection = self._open()
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise _not_connected(error) from error
        with connection:
            try:
                yield connection
            except sa.exc.DBAPIError as error:
                failure = ErrorKind.of(error)
                self._handle(failure, connection.invalidate)
                instead = for_callers(error, failure)
                if instead is None:
                    raise
                raise instead from error
            except self._driver_error as error:
                # From a hand-written statement, which goes past SQLAlchemy.
                driver = None if connection.invalidated else connection.connection.dbapi_connection
                raise self._known(error, driver, connection.invalidate) from error

    def _open(self) -> sa.Connection:
        connection = self.engine.connect()
        try:
            while self._outdated(connection.info):
                connection.invalidate()
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def borrow(self) -> Iterator[Any]:
        """A connection as the driver knows it.

        For the one statement of an ``enqueue``, for which SQLAlchemy's own ``Connection`` takes a
        fifth of the time. Only an engine of our own commits from the start.
        """
        if not self.own:
            with self.connect() as connection:
                yield connection.connection.dbapi_connection
            return
        borrowed = self._borrow()
        try:
            yield borrowed.dbapi_connection
        except self._driver_error as error:
            raise self._known(error, borrowed.dbapi_connection, borrowed.invalidate) from error
        finally:
            borrowed.close()

    def _borrow(self) -> sa.PoolProxiedConnection:
        pool = self.engine.pool
        try:
            borrowed = pool.connect()
            while self._outdated(borrowed.info):
                borrowed.invalidate()
                borrowed.close()
                borrowed = pool.connect()
        except (self._driver_error, sa.exc.TimeoutError) as error:
            raise _not_connected(error) from error
        return borrowed

    def _outdated(self, info: dict[Any, Any]) -> bool:
        """True for a connection that is older than a refusal to write: it is not asked for one."""
        first_used: float = info.setdefault(SEEN, time.monotonic())
        return first_used < self._refused_at

    def _known(self, error: Exception, driver: Any, invalidate: Callable[[], None]) -> Exception:
        """The driver's error as callers can tell it by its name, whichever driver it is of.

        :param driver: the driver's connection; None if it was given up.
        :param invalidate: takes the connection out of the pool.
        """
        dialect = self.engine.dialect
        lost = dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
        failure = ErrorKind.UNREACHABLE if lost else ErrorKind.of(error)
        self._handle(failure, invalidate)
        return for_callers(error, failure) or sa.exc.DBAPIError.instance(
            "", (), error, self._driver_error
        )

    def _handle(self, failure: ErrorKind, invalidate: Callable[[], None]) -> None:
        """Do with the connection, and with others like it, what the failure asks for."""
        if failure is ErrorKind.READ_ONLY:
            self._refused_at = time.monotonic()
        if failure in (ErrorKind.READ_ONLY, ErrorKind.UNREACHABLE):
            with suppress(Exception):
                invalidate()


def _not_connected(error: Exception) -> Exception:
    """What callers get when there is no connection to be had, for whatever reason."""
    return for_callers(error) or for_callers(error, ErrorKind.UNREACHABLE) or error
