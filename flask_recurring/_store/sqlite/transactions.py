"""SQLite: transactions. One writer at a time.

Inside a process all writers queue at a lock of our own, because SQLite's way of waiting (sleep,
look, sleep longer) wastes milliseconds; between processes its ``busy_timeout`` does.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from ..._random import rng
from .connection import raw

STEPS = 10_000
"""Steps of SQLite's machine between two looks at the clock: a millisecond at most."""

FORK_PATIENCE = 1.0
"""Seconds that a fork waits, at most, for a write of another thread to end."""


class Transactions:
    """Begins and ends transactions. See ``Driver``."""

    def __init__(self) -> None:
        self._writing = threading.RLock()
        self._forking = threading.local()
        """Says if the present thread has the lock because it forks: several may do so at once."""

    def prepare(self, connection: sa.Connection) -> None:
        # Readers and the writer don't wait for each other. It is a property of the file, and
        # SQLite doesn't wait for others when it changes: several processes may start together.
        deadline = time.monotonic() + 10
        while True:
            try:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                return
            except sa.exc.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(rng.uniform(0.01, 0.05))

    @contextmanager
    def migrating(self, connection: sa.Connection, schema: str) -> Iterator[None]:
        with self.transaction(connection):
            yield

    def create_schema(self, connection: sa.Connection, schema: str) -> None:
        return

    @contextmanager
    def transaction(self, connection: sa.Connection) -> Iterator[None]:
        with self._writing:
            # The write lock from the start: a reader that turns writer may find that it can't.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                with contextlib.suppress(sa.exc.SQLAlchemyError, sqlite3.Error):
                    connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")

    @contextmanager
    def reading(self, connection: sa.Connection, timeout: float) -> Iterator[None]:
        driver, end = raw(connection), time.monotonic() + timeout
        connection.exec_driver_sql("BEGIN")
        driver.set_progress_handler(lambda: time.monotonic() > end, STEPS)
        try:
            yield
        finally:
            # Nothing was written, so there is nothing that one would rather keep or undo.
            if not connection.invalidated and not connection.closed:
                driver.set_progress_handler(None, 0)
                with contextlib.suppress(sa.exc.SQLAlchemyError, sqlite3.Error):
                    connection.exec_driver_sql("ROLLBACK")

    def limit(self, connection: sa.Connection, timeout: float) -> None:
        return  # for the write lock, the only one, nobody waits longer than the busy timeout

    @contextmanager
    def writing(self, connection: sa.Connection) -> Iterator[None]:
        with self._writing:
            yield

    def exclude(self, connection: sa.Connection, section: str) -> None:
        return  # a transaction that writes is alone

    def before_fork(self) -> None:
        # Who forks may itself be what a write waits for, so this gives up.
        self._forking.holds = self._writing.acquire(timeout=FORK_PATIENCE)

    def after_fork_in_parent(self) -> None:
        if getattr(self._forking, "holds", False):
            self._forking.holds = False
            self._writing.release()
