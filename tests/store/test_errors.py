"""Errors of real databases: what each is taken for, what callers get, and in which words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_recurring._store import (
    Database,
    ErrorKind,
    Store,
    StoreUnavailable,
    StoreUnusable,
    create_engine,
    describe,
)
from tests.store.conftest import OpenStore
from tests.store.samples import new_job, postgresql_only, sqlite_only
from tests.store.test_database import CALLS


@pytest.mark.parametrize("name", ["insert", "insert_many", "page", "counts"])
def test_table_that_is_missing_is_told_with_the_command_that_makes_it(
    store: Store, name: str
) -> None:
    with store.database.begin() as connection:
        connection.execute(sa.schema.DropTable(store.database.tables.job))
    with pytest.raises(StoreUnusable, match=r"job.*'flask recurring init-db'") as raised:
        CALLS[name](store)
    assert raised.value.failure is ErrorKind.MISSING
    assert "\n" not in str(raised.value)
    store.database.tables.metadata.create_all(store.database.engine)
    CALLS[name](store)


def test_fault_of_the_program_stays_what_it_is(store: Store) -> None:
    with pytest.raises(sa.exc.DBAPIError) as raised, store.database.connect() as connection:
        connection.exec_driver_sql("SELECT nonsense FROM (")
    assert ErrorKind.of(raised.value) is ErrorKind.FAULT
    assert ErrorKind.of(KeyError("x")) is ErrorKind.FAULT
    assert describe(KeyError("x")) == "KeyError: 'x'"
    store.jobs.insert(new_job())


def test_value_that_is_refused_is_told_from_a_fault(store: Store) -> None:
    with pytest.raises(sa.exc.IntegrityError) as raised:
        store.jobs.insert(new_job(task=None))
    assert ErrorKind.of(raised.value) is ErrorKind.DATA
    assert describe(raised.value).startswith("the job database refused a value: ")


def test_no_connection_of_the_pool_is_free_in_time(database_url: str) -> None:
    engine = sa.create_engine(
        database_url, poolclass=sa.QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01
    )
    store = Store(Database(engine))
    with store.database.connect(), pytest.raises(StoreUnavailable, match="took too long") as raised:
        store.now()
    assert raised.value.failure is ErrorKind.SLOW
    assert "sqlalche.me" not in str(raised.value)
    store.database.close()
    engine.dispose()


@postgresql_only
@pytest.mark.parametrize(
    ("statement", "failure", "kind"),
    [
        ("SET statement_timeout = 1; SELECT pg_sleep(5)", ErrorKind.SLOW, StoreUnavailable),
        ("SET default_transaction_read_only = on", ErrorKind.READ_ONLY, StoreUnavailable),
        ("SET ROLE pg_monitor", ErrorKind.FORBIDDEN, StoreUnusable),
        ("DO $$BEGIN RAISE disk_full; END$$", ErrorKind.FULL, StoreUnavailable),
        ("DO $$BEGIN RAISE data_corrupted; END$$", ErrorKind.DAMAGED, StoreUnusable),
        ("DO $$BEGIN RAISE deadlock_detected; END$$", ErrorKind.CONFLICT, StoreUnavailable),
    ],
    ids=lambda value: value.name if isinstance(value, ErrorKind) else "",
)
def test_postgresql(
    store: Store, statement: str, failure: ErrorKind, kind: type[Exception]
) -> None:
    def fail() -> None:
        with store.database.connect() as connection:
            for part in statement.split("; ") if "DO" not in statement else [statement]:
                connection.exec_driver_sql(part)
            store.database.driver.insert(connection, new_job(), None)

    with pytest.raises(kind) as raised:
        fail()
    assert ErrorKind.of(raised.value) is failure
    assert ErrorKind.of(raised.value.__cause__) is failure


# -- files that are no good


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    database = Database(create_engine(f"sqlite:///{path}"))
    yield Store(database)
    database.close()
    database.bare_engine.dispose()


def test_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "recurring.sqlite3"
    path.write_bytes(b"Dear diary, " * 1000)
    with opened(path) as store:
        for call in (Store.prepare, CALLS["insert"], CALLS["insert_many"], CALLS["page"]):
            with pytest.raises(StoreUnusable, match="damaged, or is no database") as raised:
                call(store)
            assert raised.value.failure is ErrorKind.DAMAGED


@sqlite_only
def test_file_that_is_damaged(store: Store) -> None:
    for _ in range(100):
        store.jobs.insert(new_job())
    store.database.bare_engine.dispose()
    path = Path(store.database.engine.url.database or "")
    good = path.read_bytes()
    assert path.stat().st_size > 8192
    # Behind the head, so that it is still taken for a database.
    path.write_bytes(good[:4096] + b"\xff" * (len(good) - 4096))
    with pytest.raises(StoreUnusable, match="damaged"):
        store.jobs.insert(new_job())


@sqlite_only
def test_file_that_has_no_room_left(store: Store) -> None:
    @sa.event.listens_for(store.database.bare_engine, "connect")
    def leave_no_room(driver: Any, record: Any) -> None:
        driver.execute("PRAGMA max_page_count = 1")  # as many as there are, then

    store.database.bare_engine.dispose()
    large = new_job(arguments=f'["{"x" * 100_000}"]')
    for write in (store.jobs.insert, lambda job: store.jobs.insert_many([job, job])):
        with pytest.raises(StoreUnavailable, match=r"no room left: database or disk is full"):
            write(large)
    assert store.jobs.get(1) is None


@sqlite_only
def test_file_that_may_only_be_read(store: Store, open_store: OpenStore) -> None:
    url = f"sqlite:///file:{store.database.engine.url.database}?mode=ro&uri=true"
    reader = open_store(url)
    assert reader.jobs.get(1) is None
    with pytest.raises(StoreUnavailable, match="takes no writes"):
        reader.jobs.insert(new_job())
