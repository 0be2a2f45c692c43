"""Old rows go in chunks of bounded size, from every table of the past."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from flask_recurring._store import Database, Store, create_engine
from flask_recurring._store import chunk as chunks
from flask_recurring._store.chunk import ChunkSize
from flask_recurring._store.expiry import Expiry
from tests.store.conftest import Hire
from tests.store.samples import change, new_job, postgresql_only, row_count, write_rows

DAY = timedelta(days=1)


def tick_rows(store: Store, count: int, age: timedelta) -> None:
    at = store.now() - age
    row = {"recurring_id": "job", "outcome": "run", "created_at": at}
    write_rows(store, store.database.tables.tick, [row] * count)


def audit_rows(store: Store, count: int, age: timedelta) -> None:
    texts = dict.fromkeys(("actor", "action", "target", "detail"), "x")
    row = {"at": store.now() - age} | texts
    write_rows(store, store.database.tables.audit, [row] * count)


def statistics_rows(store: Store, count: int, age: timedelta) -> None:
    at = store.now() - age
    counts = dict.fromkeys(("succeeded", "failed", "retried", "run_seconds", "wait_seconds"), 1)
    # Several of each minute and task: the whole key tells them apart.
    rows = [
        {"minute": at - timedelta(minutes=n // 6), "task": f"t{n // 3 % 2}", "server_id": n % 3}
        for n in range(count)
    ]
    write_rows(store, store.database.tables.statistics, [row | counts for row in rows])


def server_rows(store: Store, count: int, age: timedelta) -> None:
    at = store.now() - age
    row = {"name": "a", "host": "h", "pid": 1, "application": "a", "version": "1", "threads": 1}
    more = {"queues": "[]", "started_at": at, "beat_at": at, "stopped_at": at}
    write_rows(store, store.database.tables.server, [row | more] * count)


def manifest_rows(store: Store, count: int, age: timedelta) -> None:
    at = store.now() - age
    rows = [{"id": f"{age.days}-{n}", "declares": "{}", "used_at": at} for n in range(count)]
    write_rows(store, store.database.tables.manifest, rows)


Kind = tuple[Callable[[Store, int, timedelta], None], Callable[[Store], Expiry]]

KINDS: dict[str, Kind] = {
    "tick": (tick_rows, lambda store: store.recurring.tick_expiry(30 * DAY)),
    "audit": (audit_rows, lambda store: store.audit.expiry(30 * DAY)),
    "statistics": (statistics_rows, lambda store: store.statistics.expiry(30 * DAY)),
    "server": (server_rows, lambda store: store.servers.expiry()),
    "manifest": (manifest_rows, lambda store: store.manifests.expiry()),
}


def delete_all(expiry: Expiry, connection: sa.Connection) -> int:
    """Returns in how many steps."""
    steps = 1
    while expiry.delete_some(connection):
        steps += 1
    return steps


@pytest.mark.parametrize("name", KINDS)
def test_old_rows_go_in_chunks_and_young_ones_stay(
    store: Store, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(chunks, "FIRST", 7)
    monkeypatch.setattr(chunks, "LARGEST", 7)
    write, expiry_of = KINDS[name]
    table = store.database.tables.metadata.tables
    rows = next(one for one in table.values() if one.name.endswith(name))
    write(store, 50, 60 * DAY)
    write(store, 10, DAY)
    expiry = expiry_of(store)
    deleted: list[int] = []

    def note(_: Any, __: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("DELETE"):
            deleted.append(row_count(store, rows))

    sa.event.listen(connection, "before_cursor_execute", note)
    assert delete_all(expiry, connection) >= 8
    assert row_count(store, rows) == 10
    deleted.append(10)
    assert all(before - after <= 7 for before, after in pairwise(deleted))


def test_an_old_row_behind_young_ones_goes_in_the_end(
    store: Store, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As clocks that were set back leave it."""
    tick = store.database.tables.tick
    tick_rows(store, 3, 60 * DAY)
    tick_rows(store, 1, DAY)
    expiry = store.recurring.tick_expiry(30 * DAY)
    assert not expiry.delete_some(connection)
    assert row_count(store, tick) == 1
    tick_rows(store, 1, 60 * DAY)
    change(store, tick, created_at=store.now() - 60 * DAY)
    assert not expiry.delete_some(connection)
    assert row_count(store, tick) == 0


@postgresql_only
def test_a_slow_disk_makes_the_chunks_smaller(store: Store, database_url: str) -> None:
    tick_rows(store, 400, 60 * DAY)
    database = Database(create_engine(database_url), statement_timeout=0.5)
    with store.database.connect() as operator, slow_deletes(operator, 0.002):
        connection = database.open("test")
        assert delete_all(store.recurring.tick_expiry(30 * DAY), connection) > 3
        connection.close()
    assert row_count(store, store.database.tables.tick) == 0
    database.close()
    database.bare_engine.dispose()


@contextmanager
def slow_deletes(connection: sa.Connection, seconds: float) -> Iterator[None]:
    """Let the deletion of each tick take so long."""
    connection.exec_driver_sql(
        "CREATE FUNCTION flask_recurring.wait() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM pg_sleep({seconds}); RETURN OLD; END $$"
    )
    connection.exec_driver_sql(
        "CREATE TRIGGER slow BEFORE DELETE ON flask_recurring.tick"
        " FOR EACH ROW EXECUTE FUNCTION flask_recurring.wait()"
    )
    try:
        yield
    finally:
        connection.exec_driver_sql("DROP FUNCTION flask_recurring.wait CASCADE")


def test_a_server_that_holds_a_job_and_a_list_that_is_in_use_stay(
    store: Store, connection: sa.Connection, hire: Hire
) -> None:
    tables = store.database.tables
    holding, live = hire(), hire()
    store.jobs.insert(new_job())
    holding.claim_one()
    key = store.manifests.write(connection, ())
    store.servers.declare(connection, live.id, key)
    change(store, tables.server, tables.server.c.id == holding.id, stopped_at=store.now() - 8 * DAY)
    change(store, tables.manifest, used_at=store.now() - 8 * DAY)
    for expiry in (store.servers.expiry(), store.manifests.expiry()):
        assert not expiry.delete_some(connection)
    assert row_count(store, tables.server) == 2
    assert row_count(store, tables.manifest) == 1


def test_a_chunk_has_the_size_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = ChunkSize()
    moment = [0.0]
    monkeypatch.setattr("flask_recurring._store.chunk.time.monotonic", lambda: moment[0])

    def taking(seconds: float) -> int:
        def work(rows: int) -> bool:
            moment[0] += seconds
            return True

        assert chunk.take(work)
        return chunk.rows

    def given_up(rows: int) -> bool:
        raise sa.exc.OperationalError("", None, psycopg.errors.QueryCanceled())

    assert taking(0.1) == chunks.FIRST
    assert max(taking(0.01) for _ in range(20)) == chunks.LARGEST
    # A busy machine doesn't make it as small as that nothing gets done.
    assert min(taking(5.0) for _ in range(20)) == chunks.WORTHWHILE
    sizes = []
    while chunk.rows > 1:
        assert chunk.take(given_up)
        sizes.append(taking(5.0))
    assert sizes == [31, 3, 1]
    with pytest.raises(sa.exc.OperationalError):
        chunk.take(given_up)
    assert taking(0.01) == 2
