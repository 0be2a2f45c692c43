"""A visit: what one request reads, on one connection, in one transaction, within a time limit.

By itself each read takes a connection and commits. A page asks for many things, and who waits for
it would rather hear that it takes too long than wait on; so its reads share all three.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Protocol

import sqlalchemy as sa

from .driver import Driver


class Visited(Protocol):
    """What a visit asks of its database."""

    driver: Driver

    def pooled(self) -> AbstractContextManager[sa.Connection]:
        """A connection of the pool."""


class Visit:
    """The connection of a request's reads, taken from the pool at the first of them."""

    def __init__(self, database: Visited, timeout: float) -> None:
        self.database = database
        self.timeout = timeout
        self._held = ExitStack()
        self._connection: sa.Connection | None = None

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """The connection, in its transaction."""
        if self._connection is None:
            connection = self._held.enter_context(self.database.pooled())
            limited = self.database.driver.reading(connection, self.timeout)
            self._held.enter_context(limited)
            self._connection = connection
        yield self._connection

    def release(self) -> None:
        """Give the connection back; the next read takes one again, and sees what is there then."""
        self._connection = None
        self._held.close()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """While the block runs, it is this thread's visit."""
        token = _PRESENT.set(self)
        try:
            with self._held:
                yield
        finally:
            self._connection = None
            _PRESENT.reset(token)


_PRESENT: ContextVar[Visit | None] = ContextVar("flask_recurring_visit", default=None)


def present(database: Visited) -> Visit | None:
    """The visit to this database that is going on here, if one is."""
    visit = _PRESENT.get()
    return visit if visit is not None and visit.database is database else None
