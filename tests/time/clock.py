"""A database's clock that a test can set.

Nothing in the package knows of it: PostgreSQL finds another ``now()`` before its own, SQLite
another ``strftime`` (and its driver another clock of the host).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from flask_recurring._store.sqlite import clock as store_clock
from flask_recurring._store.types import from_microseconds

SHADOWS = """
CREATE SCHEMA clock;
CREATE TABLE clock.shift (by interval NOT NULL);
INSERT INTO clock.shift VALUES ('0');
CREATE FUNCTION clock.now() RETURNS timestamptz STABLE LANGUAGE sql AS
    'SELECT pg_catalog.now() + (SELECT by FROM clock.shift)';
CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql AS
    'SELECT pg_catalog.clock_timestamp() + (SELECT by FROM clock.shift)';
"""


class DatabaseClock:
    """The clock of one test's database. It goes on from wherever it is set."""

    def move(self, by: timedelta) -> None:
        """Set it forward, or back."""
        raise NotImplementedError

    def now(self) -> datetime:
        """The time that it shows."""
        raise NotImplementedError

    def set(self, to: datetime) -> None:
        """Let it show this time."""
        self.move(to - self.now())


class PostgresClock(DatabaseClock):
    """The clock of a database that ``shadow_clock`` was called for."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True, application_name="clock")

    def move(self, by: timedelta) -> None:
        self._connection.execute("UPDATE clock.shift SET by = by + %s", (by,))

    def now(self) -> datetime:
        row = self._connection.execute("SELECT clock.clock_timestamp()").fetchone()
        assert row is not None
        moment: datetime = row[0]
        return moment.astimezone(UTC)

    def close(self) -> None:
        self._connection.execute("UPDATE clock.shift SET by = '0'")
        self._connection.close()


def shadow_clock(dsn: str, database: str) -> None:
    """Give the database a clock that can be set, for all sessions from now on."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SHADOWS)
        connection.execute(
            psycopg.sql.SQL("ALTER DATABASE {} SET search_path = clock, pg_catalog, public").format(
                psycopg.sql.Identifier(database)
            )
        )


class SQLiteClock(DatabaseClock):
    """The clock of all SQLite databases that this process opens while it lasts."""

    def __init__(self) -> None:
        self._shift = 0

    def move(self, by: timedelta) -> None:
        self._shift += by // timedelta(microseconds=1)

    def now(self) -> datetime:
        return from_microseconds(self.microseconds())

    def microseconds(self) -> int:
        return time.time_ns() // 1_000_000 * 1_000 + self._shift

    def strftime(self, form: str, moment: str) -> str:
        assert moment == "now", moment
        seconds, rest = divmod(self.microseconds(), 1_000_000)
        match form:
            case "%s":
                return str(seconds)
            case "%f":
                return f"{seconds % 60:02}.{rest // 1000:03}"
        raise AssertionError(form)


@contextmanager
def sqlite_clock() -> Iterator[SQLiteClock]:
    """Let SQLite go by a clock of the test's."""
    clock = SQLiteClock()

    def adopt(connection: Any, record: Any) -> None:
        if hasattr(connection, "create_function"):
            connection.create_function("strftime", 2, clock.strftime)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_clock, "now", clock.microseconds)
        sa.event.listen(sa.Pool, "connect", adopt)
        try:
            yield clock
        finally:
            sa.event.remove(sa.Pool, "connect", adopt)
