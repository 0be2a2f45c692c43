"""Connections: pooled ones, a server's own, and what callers see when the database goes away."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from flask_recurring._store import (
    Database,
    DedicatedConnection,
    Store,
    StoreUnavailable,
    create_engine,
)
from flask_recurring._store.postgresql import discard_stale
from flask_recurring.errors import ConfigurationError
from flask_recurring.job import JobState
from tests.postgres import Cluster
from tests.processes import free_port
from tests.store.conftest import OpenStore
from tests.store.forker import ROUNDS
from tests.store.samples import new_job, postgresql_only, row_count, sqlite_only
from tests.waiting import wait_for


def end_backends(store: Store) -> None:
    """Cut every connection to the test's database but this one, and wait until they are gone."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with store.database.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) {others}")
        wait_for(
            lambda: connection.exec_driver_sql(f"SELECT count(*) {others}").scalar_one() == 0,
            interval=0.001,
        )


def backends(store: Store, name: str) -> int:
    """How many connections go by this name."""
    with store.database.connect() as connection:
        return int(
            connection.exec_driver_sql(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = %s",
                (name,),
            ).scalar_one()
        )


CALLS: dict[str, Callable[[Store], Any]] = {
    "insert": lambda store: store.jobs.insert(new_job()),
    "insert_many": lambda store: store.jobs.insert_many([new_job()]),
    "insert_many with keys": lambda store: store.jobs.insert_many([new_job(key="k")]),
    "get": lambda store: store.jobs.get(1),
    "page": lambda store: store.jobs.page(JobState.ENQUEUED),
    "page of the finished": lambda store: store.jobs.page(JobState.FAILED),
    "counts": lambda store: store.jobs.counts(),
    "requeue": lambda store: store.jobs.requeue(1),
    "now": lambda store: store.now(),
    "recurring": lambda store: store.recurring.all(),
    "servers": lambda store: store.servers.live(),
}


# -- pooled connections


@postgresql_only
def test_a_connection_that_was_cut_while_idle_is_replaced(
    store: Store, open_store: OpenStore
) -> None:
    other = open_store()
    for call in CALLS.values():
        store.jobs.counts()
        end_backends(other)
        call(store)


@postgresql_only
@pytest.mark.parametrize("name", CALLS)
def test_a_connection_that_is_lost_on_the_way_is_told_as_such(
    store: Store, open_store: OpenStore, name: str
) -> None:
    other = open_store()
    store.now()

    def cut_at_checkout(*_: Any) -> None:
        # After the pool has looked whether the connection is still there.
        end_backends(other)

    sa.event.listen(store.database.bare_engine, "checkout", cut_at_checkout)
    with pytest.raises(StoreUnavailable, match="can't be reached"):
        CALLS[name](store)
    sa.event.remove(store.database.bare_engine, "checkout", cut_at_checkout)
    CALLS[name](store)


def test_nobody_listens(open_store: OpenStore) -> None:
    store = open_store(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/nothing")
    for call in CALLS.values():
        with pytest.raises(StoreUnavailable, match="can't be reached"):
            call(store)
    with pytest.raises(StoreUnavailable):
        store.prepare()
    with pytest.raises(StoreUnavailable):
        _ = store.description


@postgresql_only
def test_many_open_files_do_no_harm(store: Store) -> None:
    import fcntl

    with store.database.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        high = fcntl.fcntl(driver.fileno(), fcntl.F_DUPFD, 2_000)

        class Numbered:
            def fileno(self) -> int:
                return high

        discard_stale(Numbered(), None, None)


# -- a server's own connections


@pytest.fixture
def dedicated(store: Store) -> Any:
    dedicated = store.database.dedicated("link")
    yield dedicated
    dedicated.close()


def test_a_link_keeps_its_connection(store: Store, dedicated: DedicatedConnection) -> None:
    with dedicated.use() as first:
        assert not dedicated.overdue
    with dedicated.use(patience=math.inf) as second:
        assert second is first
        assert store.database.clock(second) <= store.now()
    dedicated.close()
    with dedicated.use() as third:
        assert third is not first


def test_a_link_keeps_its_connection_after_an_error_that_is_not_its_own(
    store: Store, dedicated: DedicatedConnection
) -> None:
    with pytest.raises(RuntimeError), dedicated.use() as first:
        raise RuntimeError
    with pytest.raises(sa.exc.DBAPIError), dedicated.use() as second:
        second.exec_driver_sql("SELECT * FROM nowhere")
    with (
        pytest.raises(sa.exc.DBAPIError),
        dedicated.use() as third,
        store.database.driver.transaction(third),
    ):
        third.exec_driver_sql("SELECT * FROM nowhere")
    with dedicated.use() as last:
        assert {first, second, third} == {last}
        assert store.database.clock(last) <= store.now()


def test_a_link_drops_a_connection_that_is_not_in_order(
    store: Store, dedicated: DedicatedConnection
) -> None:
    def breaks(error: BaseException, *statements: str) -> sa.Connection:
        with dedicated.use() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        with pytest.raises(type(error)), dedicated.use():
            raise error
        return connection

    dropped = [
        breaks(RuntimeError(), "BEGIN"),
        breaks(KeyboardInterrupt()),
        breaks(sa.exc.DatabaseError(None, None, Exception())),
        breaks(sa.exc.DBAPIError(None, None, Exception(), connection_invalidated=True)),
    ]
    with dedicated.use() as connection:
        assert connection not in dropped
        assert len(set(dropped)) == len(dropped)
        assert all(one.closed for one in dropped)
        assert store.database.clock(connection) <= store.now()


@postgresql_only
def test_a_link_drops_a_connection_that_may_only_read(
    store: Store, dedicated: DedicatedConnection
) -> None:
    table = store.database.tables.audit
    with dedicated.use() as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = on")
    with pytest.raises(sa.exc.DBAPIError, match="read-only"), dedicated.use() as connection:
        connection.execute(sa.delete(table))
    with dedicated.use() as connection:
        connection.execute(sa.delete(table))


def test_a_transaction_that_fails_on_a_link_leaves_nothing(
    store: Store, dedicated: DedicatedConnection
) -> None:
    driver = store.database.driver

    def break_off() -> None:
        with dedicated.use() as connection, driver.transaction(connection):
            driver.insert(connection, new_job(), None)
            raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        break_off()
    assert store.jobs.get(1) is None
    store.jobs.insert(new_job())


@postgresql_only
def test_a_closed_link_leaves_no_connection_behind(
    store: Store, dedicated: DedicatedConnection
) -> None:
    with dedicated.use():
        assert backends(store, "flask_recurring link") == 1
    dedicated.close()
    wait_for(lambda: backends(store, "flask_recurring link") == 0)


@postgresql_only
def test_aborting_ends_a_statement_that_hangs(store: Store, dedicated: DedicatedConnection) -> None:
    failed: list[BaseException] = []
    began = threading.Event()

    def hang() -> None:
        try:
            with dedicated.use() as connection:
                began.set()
                connection.exec_driver_sql("SELECT pg_sleep(60)")
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    began.wait(10)
    wait_for(lambda: sleeping(store) == 1)
    moment = time.monotonic()
    dedicated.abort()
    thread.join(10)
    assert not thread.is_alive()
    assert time.monotonic() - moment < 5
    assert isinstance(failed[0], (sa.exc.OperationalError, psycopg.OperationalError))
    assert not dedicated.overdue
    with dedicated.use() as connection:
        assert store.database.clock(connection)


def sleeping(store: Store) -> int:
    """How many connections sleep."""
    with store.database.connect() as connection:
        return int(
            connection.exec_driver_sql(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND wait_event = 'PgSleep'"
            ).scalar_one()
        )


@sqlite_only
def test_aborting_interrupts_a_statement(store: Store, dedicated: DedicatedConnection) -> None:
    failed: list[BaseException] = []
    began = threading.Event()

    def hang() -> None:
        try:
            with dedicated.use() as connection:
                began.set()
                connection.exec_driver_sql(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                    " SELECT count(*) FROM n"
                )
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    began.wait(10)

    def interrupted() -> bool:
        # Once more, should the statement not have begun yet.
        dedicated.abort()
        return not thread.is_alive()

    wait_for(interrupted)
    thread.join()
    assert "interrupted" in str(failed[0])
    with dedicated.use() as connection:
        assert store.database.clock(connection)


def test_aborting_what_does_not_run_does_no_harm(
    store: Store, dedicated: DedicatedConnection
) -> None:
    dedicated.abort()
    with dedicated.use() as connection:
        assert store.database.clock(connection)
    dedicated.close()
    dedicated.abort()
    with dedicated.use() as connection:
        assert store.database.clock(connection)


@postgresql_only
def test_a_link_whose_backend_was_ended_comes_back(
    store: Store, dedicated: DedicatedConnection, open_store: OpenStore
) -> None:
    with dedicated.use() as connection:
        store.database.driver.ping(connection)
    end_backends(open_store())
    with pytest.raises(Exception, match=r"(?i)terminat|closed"), dedicated.use() as connection:
        store.database.driver.ping(connection)
    with dedicated.use() as connection:
        store.database.driver.ping(connection)


@postgresql_only
def test_the_database_gives_up_a_statement_after_its_timeout(
    database_url: str, store: Store
) -> None:
    database = Database(create_engine(database_url), statement_timeout=0.2)
    dedicated = database.dedicated("hasty")
    with pytest.raises(sa.exc.OperationalError, match="statement timeout"), dedicated.use() as one:
        one.exec_driver_sql("SELECT pg_sleep(30)")
    dedicated.close()
    database.close()


@postgresql_only
def test_links_do_not_wait_for_the_pool(store: Store) -> None:
    connections = [store.database.dedicated(f"link {number}") for number in range(40)]
    for dedicated in connections:
        with dedicated.use() as connection:
            store.database.driver.ping(connection)
    for dedicated in connections:
        dedicated.close()


def test_a_transaction_is_read_committed_whatever_the_database_prefers(
    private_postgres: Cluster, open_store: OpenStore
) -> None:
    url = private_postgres.create_database()
    name = sa.make_url(url).database
    private_postgres.execute(
        f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'"
    )
    store = open_store(url)
    store.prepare()
    with store.database.begin() as connection:
        assert isolation(connection) == "read committed"
    connection = store.database.open("test")
    assert isolation(connection) == "read committed"
    connection.close()


def isolation(connection: sa.Connection) -> Any:
    return connection.exec_driver_sql("SHOW transaction_isolation").scalar_one()


# -- after a fork


def test_a_child_opens_connections_of_its_own(database_url: str, store: Store) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.store.forker", database_url],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert result.stderr == ""
    assert result.returncode == 0
    assert row_count(store, store.database.tables.job) == 8 * ROUNDS


# -- the rest


def test_describes_the_database_without_secrets(store: Store) -> None:
    text = store.description
    if store.database.driver.name == "postgresql":
        assert text.startswith("PostgreSQL ")
        assert "schema flask_recurring" in text
    else:
        assert text.startswith("SQLite ")
        assert text.endswith("recurring.sqlite3")


def test_a_password_is_in_no_message(postgres_url: str, open_store: OpenStore) -> None:
    url = sa.make_url(postgres_url).set(password="hush", username="nobody_there")
    store = open_store(url.render_as_string(hide_password=False))
    with pytest.raises(StoreUnavailable) as raised:
        store.now()
    assert "hush" not in str(raised.value)
    assert "hush" not in repr(store.database.engine.url)


def test_other_databases_are_refused() -> None:
    engine = sa.create_engine("mysql+pymysql://", module=_Module())
    with pytest.raises(ConfigurationError, match="'mysql'"):
        Database(engine)


class _Module:
    """As much of a driver's module as an engine looks at before it connects."""

    paramstyle = "format"
    __version__ = "1"


@sqlite_only
def test_file_that_is_held_for_too_long_is_unavailable(store: Store) -> None:
    store.jobs.insert(new_job())
    path = store.database.engine.url.database
    assert path is not None
    with store.database.borrow() as borrowed:
        borrowed.execute("PRAGMA busy_timeout = 100")  # of the pool's connection, that comes again
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="held by another process: database is locked"):
            store.jobs.insert(new_job())
        with pytest.raises(StoreUnavailable, match="held by another process"):
            store.queues.pause("default")
    assert store.jobs.insert(new_job()).id == 2
