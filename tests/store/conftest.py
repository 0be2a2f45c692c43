"""Fixtures of the store's conformance suite: every test runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.sql import SQL, Identifier

from flask_recurring._store import Database, Store, create_engine
from flask_recurring._store.schema import Tables
from tests.postgres import Server
from tests.store.worker import Worker


class OpenStore(Protocol):
    """Opens a database once more, with connections of its own, as another process would."""

    def __call__(self, url: str | None = None, *, schema: str = "flask_recurring") -> Store: ...


class Hire(Protocol):
    """Signs a worker on."""

    def __call__(
        self, at: Store | None = None, *, tasks: Sequence[str] = ("work",), name: str = "worker"
    ) -> Worker: ...


# -- databases in which the tables are already, since making them takes longer than most tests


@pytest.fixture(scope="session")
def prepared_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with empty tables, to be copied."""
    path = tmp_path_factory.mktemp("prepared") / "recurring.sqlite3"
    prepare(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def prepared_postgres(postgres: Server) -> Iterator[str]:
    """URL of a PostgreSQL database with tables that every test leaves empty."""
    url = postgres.create_database()
    prepare(url)
    yield url
    postgres.drop_database(url)


TRUNCATE = SQL("TRUNCATE {} RESTART IDENTITY").format(
    SQL(", ").join(
        Identifier("flask_recurring", table.name)
        for table in Tables("postgresql", "flask_recurring").metadata.tables.values()
    )
)


def prepare(url: str) -> None:
    database = Database(create_engine(url))
    database.prepare()
    database.close()
    database.bare_engine.dispose()


@pytest.fixture
def sqlite_store_url(prepared_sqlite: Path, tmp_path: Path) -> str:
    """URL of a SQLite file with empty tables, of this test's own."""
    return f"sqlite:///{shutil.copy(prepared_sqlite, tmp_path)}"


@pytest.fixture
def postgres_store_url(prepared_postgres: str, postgres: Server) -> Iterator[str]:
    """URL of a PostgreSQL database with empty tables, of this test alone while it runs."""
    yield prepared_postgres
    name = sa.make_url(prepared_postgres).database or ""
    with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.execute(TRUNCATE)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of a database with empty tables; the test runs once for each kind of database."""
    fixture = {"sqlite": "sqlite_store_url", "postgresql": "postgres_store_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url


# -- what works on them


@pytest.fixture
def open_store(request: pytest.FixtureRequest) -> Iterator[OpenStore]:
    """``open_store()`` gives a store with connections of its own; it is closed with the test.

    On the test's ``database_url``, if no other is given.
    """
    with ExitStack() as stack:

        def open(url: str | None = None, *, schema: str = "flask_recurring") -> Store:
            address = url or request.getfixturevalue("database_url")
            database = Database(create_engine(address), schema=schema)
            stack.callback(database.bare_engine.dispose)
            stack.callback(database.close)
            return Store(database)

        yield open


@pytest.fixture
def store(database_url: str, open_store: OpenStore) -> Store:
    """A store whose tables are there."""
    return open_store()


@pytest.fixture
def engine(store: Store) -> Iterator[sa.Engine]:
    """An engine on the store's database as an application has it, with transactions of its own."""
    engine = sa.create_engine(store.database.bare_engine.url)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(store: Store) -> Iterator[sa.Connection]:
    """A connection as a server has it."""
    connection = store.database.open("test")
    yield connection
    connection.close()


@pytest.fixture
def hire(store: Store) -> Iterator[Hire]:
    """``hire()`` gives a worker on ``store``, or on the store that is given."""
    with ExitStack() as stack:

        def hire(
            at: Store | None = None, *, tasks: Sequence[str] = ("work",), name: str = "worker"
        ) -> Worker:
            worker = Worker(at or store, tasks, name)
            stack.callback(worker.close)
            return worker

        yield hire


@pytest.fixture
def worker(hire: Hire) -> Worker:
    """A worker that knows the task ``work``."""
    return hire()
