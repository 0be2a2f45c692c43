"""Fresh databases to measure on.

``PostgresServer`` makes them on a PostgreSQL server: one of our own with fsync on and otherwise
(nearly) its default settings, or one that is given. ``SqliteFolder`` makes files.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import psycopg
from sqlalchemy import make_url

from tests.postgres import Cluster, ExternalServer, PostgresFailed, Server

from .activity import Activity

SETTINGS: dict[str, str | int] = {
    "max_connections": 200,
    # A checkpoint in the middle of a run of seconds would hit one run and not the other.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
}

STATEMENTS = "pg_stat_statements"


class Target(ABC):
    """One database. It is there as long as the block that made it."""

    url: str
    """As SQLAlchemy writes it."""
    folder: Path
    """A place for files that belong to the measurement."""

    @abstractmethod
    def complete(self) -> None:
        """Bring tables and disk into the state they would have after a while of rest."""

    @abstractmethod
    def activity(self) -> Activity:
        """Its counters now."""

    @abstractmethod
    def snapshot(self) -> contextlib.AbstractContextManager[None]:
        """A reader's view of this moment, held for the whole block."""


class Databases(ABC):
    """Where targets come from."""

    @property
    @abstractmethod
    def description(self) -> str:
        """Product and version."""

    @abstractmethod
    def fresh(self) -> contextlib.AbstractContextManager[Target]:
        """An empty database for the block."""


class PostgresTarget(Target):
    """A database on a PostgreSQL server."""

    def __init__(self, server: Server, url: str, folder: Path, counted: bool) -> None:
        self.url = url
        self.folder = folder
        self.dsn = server.dsn(make_url(url).database or "")
        self._server = server
        self._name = make_url(url).database
        self._counted = counted

    def complete(self) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")

    def activity(self) -> Activity:
        # Asked from another database, so that the question itself isn't counted.
        commits = self._server.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = %s", [self._name]
        )[0][0]
        statements = None
        if self._counted:
            statements = self._server.execute(
                f"SELECT coalesce(sum(calls), 0)::bigint FROM {STATEMENTS} AS counted"
                " JOIN pg_database ON pg_database.oid = counted.dbid WHERE datname = %s",
                [self._name],
            )[0][0]
        return Activity(statements, commits, self._cpu_seconds())

    def _cpu_seconds(self) -> float | None:
        if not isinstance(self._server, Cluster) or self._server.pid is None:
            return None
        total = 0.0
        postmaster = psutil.Process(self._server.pid)
        for process in postmaster.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        # Those of children that have ended; the times of living ones are not among them.
        times = postmaster.cpu_times()
        return float(total + times.children_user + times.children_system)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SELECT count(*) FROM pg_class")
            yield
            connection.execute("ROLLBACK")


class PostgresServer(Databases):
    """A PostgreSQL server on which databases can be made."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._counted = self._can_count()

    @classmethod
    @contextmanager
    def own(cls) -> Iterator[PostgresServer]:
        """A server of our own, that ends with the block."""
        with ExitStack() as stack:
            try:
                counting = {**SETTINGS, "shared_preload_libraries": STATEMENTS}
                cluster = stack.enter_context(Cluster(durable=True, options=counting))
            except PostgresFailed:
                # These programs came without the extension.
                cluster = stack.enter_context(Cluster(durable=True, options=SETTINGS))
            yield cls(cluster)

    @classmethod
    def given(cls, url: str) -> PostgresServer:
        """A server that runs already; the user in ``url`` must be allowed to make databases."""
        return cls(ExternalServer(url))

    def _can_count(self) -> bool:
        try:
            self._server.execute(f"CREATE EXTENSION IF NOT EXISTS {STATEMENTS}")
            self._server.execute(f"SELECT count(*) FROM {STATEMENTS}")
        except psycopg.Error:
            return False
        return True

    @property
    def description(self) -> str:
        version = str(self._server.execute("SHOW server_version")[0][0])
        fsync = self._server.execute("SHOW fsync")[0][0]
        return f"PostgreSQL {version.split()[0]}, fsync {fsync}"

    @contextmanager
    def fresh(self) -> Iterator[Target]:
        url = self._server.create_database()
        try:
            with tempfile.TemporaryDirectory(prefix="recurring-benchmark-") as folder:
                yield PostgresTarget(self._server, url, Path(folder), self._counted)
        finally:
            self._server.drop_database(url)


class SqliteTarget(Target):
    """A database file. SQLite counts neither statements nor commits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "jobs.sqlite3"
        self.url = f"sqlite:///{self._file}"

    def complete(self) -> None:
        with contextlib.closing(sqlite3.connect(self._file, isolation_level=None)) as connection:
            # No ANALYZE: unlike PostgreSQL's, nobody does that by itself.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def activity(self) -> Activity:
        return Activity(None, None, None)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self._file, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            yield
            connection.execute("ROLLBACK")


class SqliteFolder(Databases):
    """Files in temporary folders."""

    @property
    def description(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    @contextmanager
    def fresh(self) -> Iterator[Target]:
        with tempfile.TemporaryDirectory(prefix="recurring-benchmark-") as folder:
            yield SqliteTarget(Path(folder))
