"""A visit: reads that share a connection, a transaction and a time limit."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from flask_recurring._store import ErrorKind, Store, StoreUnavailable
from flask_recurring.job import JobState
from tests.store.conftest import OpenStore
from tests.store.samples import fetch, new_job, postgresql_only

SLOW = {
    "postgresql": "SELECT pg_sleep(60)",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n) SELECT max(i) FROM n",
}


def backend(store: Store) -> int:
    with store.database.connect() as connection:
        return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


@pytest.fixture
def committed(store: Store) -> int:
    return store.jobs.insert(new_job()).id


def test_what_takes_too_long_is_given_up(store: Store) -> None:
    begun = time.monotonic()
    with (
        pytest.raises(StoreUnavailable) as caught,
        store.database.visit(0.2),
        store.database.connect() as connection,
    ):
        connection.exec_driver_sql(SLOW[store.database.driver.name])
    assert caught.value.failure is ErrorKind.SLOW
    assert time.monotonic() - begun < 20
    # The connection is as it was.
    with store.database.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    assert store.jobs.insert(new_job()).id


@postgresql_only
def test_it_has_one_connection_and_one_commit(store: Store) -> None:
    with store.database.visit(5):
        first = backend(store)
        with store.database.connect():  # in another call's block as well
            assert backend(store) == first
        started = sa.text("SELECT now()")
        with store.database.connect() as connection:
            moment = connection.execute(started).scalar_one()
        with store.database.connect() as connection:
            assert connection.execute(started).scalar_one() == moment
        assert store.database.bare_engine.pool.checkedout() == 1  # type: ignore[attr-defined]
    assert store.database.bare_engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@postgresql_only
def test_without_a_read_it_has_none(store: Store) -> None:
    with store.database.visit(5):
        assert store.database.bare_engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_what_is_done_in_it_is_seen_in_it(store: Store, committed: int) -> None:
    with store.database.visit(5):
        assert fetch(store, committed).state is JobState.ENQUEUED
        assert store.jobs.delete(committed)
        assert fetch(store, committed).state is JobState.DELETED
    assert fetch(store, committed).state is JobState.DELETED


@postgresql_only
def test_an_act_in_it_waits_no_longer_for_a_lock(
    store: Store, open_store: OpenStore, committed: int
) -> None:
    other = open_store()
    with other.database.begin() as holder:
        job = other.database.tables.job
        holder.execute(sa.select(job.c.id).with_for_update())
        with pytest.raises(StoreUnavailable) as caught, store.database.visit(0.2):
            store.jobs.delete(committed)
    assert caught.value.failure is ErrorKind.SLOW
    assert fetch(store, committed).state is JobState.ENQUEUED
    assert store.audit.newest() == []


@postgresql_only
def test_it_only_reads(store: Store, committed: int) -> None:
    with (
        pytest.raises(StoreUnavailable),
        store.database.visit(5),
        store.database.connect() as connection,
    ):
        connection.execute(sa.delete(store.database.tables.job))
    assert fetch(store, committed).id == committed


def test_visits_of_two_databases_do_not_mix(store: Store, open_store: OpenStore) -> None:
    other = open_store()
    with (
        store.database.visit(5),
        other.database.visit(5),
        store.database.connect() as mine,
        other.database.connect() as theirs,
    ):
        assert mine is not theirs


def test_an_error_ends_it(store: Store, committed: int) -> None:
    with pytest.raises(ZeroDivisionError), store.database.visit(5):  # noqa: PT012
        fetch(store, committed)
        raise ZeroDivisionError
    assert store.jobs.delete(committed)
