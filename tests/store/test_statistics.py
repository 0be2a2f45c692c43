"""Counts by minute: they add up, whoever adds to them."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from flask_recurring._store import Minute, Store, Tally
from tests.store.conftest import Hire, OpenStore
from tests.store.race import race
from tests.store.samples import change, fail, row_count
from tests.store.worker import Worker
from tests.waiting import wait_for


@pytest.fixture
def early(store: Store) -> Store:
    """A store whose minute has just begun, so that no test crosses from one to the next."""
    wait_for(lambda: store.now().second < 55)
    return store


def sums(store: Store) -> dict[str, tuple[float, ...]]:
    """The sums of all columns, by task."""
    column = store.database.tables.statistics.c
    numbers = [
        column[name] for name in ("succeeded", "failed", "retried", "run_seconds", "wait_seconds")
    ]
    statement = sa.select(column.task, *(sa.func.sum(one) for one in numbers)).group_by(column.task)
    with store.database.connect() as connection:
        return {
            row[0]: tuple(float(one) for one in row[1:]) for row in connection.execute(statement)
        }


def test_nothing_has_happened_yet(store: Store) -> None:
    series = store.statistics.series(5)
    assert len(series) == 5
    assert {(one.succeeded, one.failed, one.retried) for one in series} == {(0, 0, 0)}


def test_tallies_of_a_minute_add_up(early: Store, worker: Worker, hire: Hire) -> None:
    other = hire()
    worker.complete(tallies=[Tally("work", 3, 1, 2, 1.5, 0.5), Tally("play", 1, 0, 0, 0.25, 0.0)])
    worker.complete(tallies=[Tally("work", 4, 0, 1, 0.5, 0.25)])
    other.complete(tallies=iter([Tally("work", 10, 5, 0, 1.0, 1.0)]))
    assert sums(early) == {
        "work": (17.0, 6.0, 3.0, 3.0, 1.75),
        "play": (1.0, 0.0, 0.0, 0.25, 0.0),
    }
    assert row_count(early, early.database.tables.statistics) == 3
    series = early.statistics.series(2)
    assert (series[1].succeeded, series[1].failed, series[1].retried) == (18, 6, 3)
    assert series[0].succeeded == 0


def test_minutes_without_anything_are_zeros(early: Store, worker: Worker) -> None:
    present = early.now().replace(second=0, microsecond=0)
    table = early.database.tables.statistics
    for ago, count in ((60, 60), (59, 59), (3, 30), (0, 1)):
        worker.complete(tallies=[Tally("work", count, 0, 0, 0.0, 0.0)])
        at = present - timedelta(minutes=ago)
        change(early, table, table.c.succeeded == count, minute=at)
    series = early.statistics.series(60)
    assert [one.at for one in series] == [
        present - timedelta(minutes=ago) for ago in range(59, -1, -1)
    ]
    assert [one.succeeded for one in series if one.succeeded] == [59, 30, 1]
    assert series[0] == Minute(present - timedelta(minutes=59), 59)
    assert early.statistics.series(1) == [Minute(present, 1)]
    assert early.statistics.series(0) == []


def test_large_numbers(early: Store, worker: Worker) -> None:
    worker.complete(tallies=[Tally("work", 2**40, 0, 0, 1e12, 0.0)])
    worker.complete(tallies=[Tally("work", 2**40, 0, 0, 1e12, 0.0)])
    assert sum(one.succeeded for one in early.statistics.series(5)) == 2**41
    assert early.statistics.series(1)[0].succeeded == 2**41


def test_many_servers_that_add_at_once_lose_nothing(
    store: Store, open_store: OpenStore, hire: Hire
) -> None:
    workers = [hire(open_store()) for _ in range(3)]
    # Two threads that add for the same server.
    workers[2].id = workers[1].id

    def run(number: int) -> None:
        for _ in range(25):
            workers[number].complete(
                tallies=[Tally("a", 1, 2, 3, 1.0, 0.0), Tally("b", 1, 0, 0, 0.0, 1.0)]
            )

    race(3, run)
    assert sums(store) == {"a": (75.0, 150.0, 225.0, 75.0, 0.0), "b": (75.0, 0.0, 0.0, 0.0, 75.0)}


def test_old_minutes_are_forgotten(store: Store, worker: Worker, connection: sa.Connection) -> None:
    table = store.database.tables.statistics
    worker.complete(tallies=[Tally("old", 1, 0, 0, 0.0, 0.0), Tally("new", 1, 0, 0, 0.0, 0.0)])
    fail(store, table.c.minute, timedelta(days=31), table.c.task == "old")
    assert not store.statistics.expiry(timedelta(days=30)).delete_some(connection)
    assert sums(store).keys() == {"new"}
