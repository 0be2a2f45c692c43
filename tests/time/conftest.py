"""Fixtures for time: those of the store, on both databases, and a clock that can be set."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
import sqlalchemy as sa

from tests.postgres import Server
from tests.store.conftest import (
    TRUNCATE,
    OpenStore,
    connection,
    database_url,
    hire,
    open_store,
    postgres_store_url,
    prepare,
    prepared_postgres,
    prepared_sqlite,
    sqlite_store_url,
    store,
    worker,
)
from tests.time.clock import DatabaseClock, PostgresClock, shadow_clock, sqlite_clock
from tests.time.fleet import Fleet

__all__ = [
    "connection",
    "database_url",
    "hire",
    "open_store",
    "postgres_store_url",
    "prepared_postgres",
    "prepared_sqlite",
    "sqlite_store_url",
    "store",
    "worker",
]


@pytest.fixture(scope="session")
def clocked_postgres(postgres: Server) -> Iterator[str]:
    """URL of a PostgreSQL database with empty tables and a clock that can be set."""
    url = postgres.create_database()
    name = sa.make_url(url).database or ""
    prepare(url)
    shadow_clock(postgres.dsn(name), name)
    yield url
    postgres.drop_database(url)


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> Iterator[DatabaseClock]:
    """The clock of ``clocked_url``."""
    kind: str = request.getfixturevalue("clocked_kind")
    if kind == "sqlite":
        with sqlite_clock() as clock:
            yield clock
        return
    postgres: Server = request.getfixturevalue("postgres")
    url: str = request.getfixturevalue("clocked_postgres")
    dsn = postgres.dsn(sa.make_url(url).database or "")
    own = PostgresClock(dsn)
    yield own
    own.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def clocked_kind(request: pytest.FixtureRequest) -> str:
    """The test runs once for each kind of database."""
    kind: str = request.param
    return kind


@pytest.fixture
def clocked_url(
    request: pytest.FixtureRequest, clocked_kind: str, clock: DatabaseClock
) -> Iterator[str]:
    """URL of a database with empty tables, which goes by ``clock``."""
    if clocked_kind == "sqlite":
        yield request.getfixturevalue("sqlite_store_url")
        return
    url: str = request.getfixturevalue("clocked_postgres")
    yield url
    postgres: Server = request.getfixturevalue("postgres")
    with psycopg.connect(
        postgres.dsn(sa.make_url(url).database or ""), autocommit=True
    ) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name <> 'clock'"
        )
        connection.execute(TRUNCATE)


@pytest.fixture
def fleet(clocked_url: str, clock: DatabaseClock, open_store: OpenStore) -> Iterator[Fleet]:
    """Servers without threads, on a database whose clock stands at noon of 1 March 2026."""
    clock.set(datetime(2026, 3, 1, 12, tzinfo=UTC))
    fleet = Fleet(open_store(clocked_url), clock)
    yield fleet
    fleet.close()
