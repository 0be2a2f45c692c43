"""Ticks: each due time becomes one job, whoever comes to it and however often."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from flask_recurring._server.clock import Clock
from flask_recurring._server.ticker import BATCH, Ticker
from flask_recurring._store import Notification, Store, Topic
from flask_recurring._store.records import TickWrite
from tests.store.conftest import OpenStore
from tests.store.race import race
from tests.store.samples import (
    MOMENT,
    change,
    definition,
    fetch,
    postgresql_only,
    row_count,
    ticks_of,
    write_rows,
)
from tests.store.worker import Worker

DUE = MOMENT.replace(second=0, microsecond=0)


def ticker(store: Store, notify: Callable[[Notification], None] | None = None) -> Ticker:
    return Ticker(store, Clock(), tasks=lambda: ["work"], notify=notify)


def due(id: str = "nightly", at: datetime | None = DUE, **values: object) -> TickWrite:
    """A tick of the task ``work``."""
    given: dict[str, object] = {
        "recurring_id": id,
        "due": at,
        "next_at": DUE + timedelta(minutes=1),
        "task": "work",
        "arguments": "[[],{}]",
        "queue": "default",
        "priority": 0,
        "options": None,
    }
    return TickWrite(**(given | values))  # type: ignore[arg-type]


def write(store: Store, connection: sa.Connection, *ticks: TickWrite) -> None:
    with store.database.driver.transaction(connection):
        store.recurring.write_ticks(connection, ticks)


# -- one tick


def test_a_tick_becomes_a_job(store: Store, connection: sa.Connection, worker: Worker) -> None:
    store.recurring.save([definition(cron="* * * * *")])
    before = store.recurring.get("nightly")
    assert before is not None
    following = DUE + timedelta(minutes=1)
    write(
        store,
        connection,
        due(arguments="[[5],{}]", queue="mail", priority=-4, options='{"timeout":2}'),
    )
    after = store.recurring.get("nightly")
    assert after is not None
    assert (after.next_at, after.last_due) == (following, DUE)
    assert after.updated_at == before.updated_at
    assert after.last_job_id is not None
    job = fetch(store, after.last_job_id)
    assert (job.task, job.args, job.queue, job.priority) == ("work", (5,), "mail", -4)
    assert (job.recurring_id, job.due) == ("nightly", DUE)
    assert before.created_at <= job.run_at <= store.now()
    [tick] = ticks_of(store, "nightly")
    assert (tick.due, tick.outcome, tick.job_id, tick.reason) == (DUE, "run", job.id, None)
    run = worker.claim_one()
    assert (run.due, run.recurring_id, run.options) == (DUE, "nightly", '{"timeout":2}')


def test_a_tick_that_is_there_gives_no_second_job(store: Store, connection: sa.Connection) -> None:
    store.recurring.save([definition("nightly"), definition("hourly")])
    write(store, connection, due("nightly"))
    first = store.recurring.get("nightly")
    assert first is not None
    later = DUE + timedelta(minutes=7)
    write(store, connection, due("nightly", next_at=later), due("hourly"))
    second = store.recurring.get("nightly")
    assert second is not None
    assert second.next_at == later
    assert second.last_job_id == first.last_job_id
    assert row_count(store, store.database.tables.job) == 2
    assert len(ticks_of(store, "nightly")) == 1
    assert len(ticks_of(store, "hourly")) == 1


def test_moving_on_without_a_tick(store: Store, connection: sa.Connection) -> None:
    store.recurring.save([definition("a"), definition("b")])
    write(store, connection, due("a"))
    write(store, connection, due("a", at=None, next_at=None), due("b", at=None))
    a, b = store.recurring.all()
    assert (a.next_at, a.last_due) == (None, DUE)
    assert (b.next_at, b.last_due, b.last_job_id) == (DUE + timedelta(minutes=1), None, None)
    assert row_count(store, store.database.tables.job) == 1


def test_a_tick_of_one_that_was_removed_meanwhile(store: Store, connection: sa.Connection) -> None:
    write(store, connection, due("gone"))
    assert store.recurring.get("gone") is None
    assert row_count(store, store.database.tables.job) == row_count(
        store, store.database.tables.tick
    )


def test_a_transaction_that_breaks_off_leaves_no_tick(
    store: Store, connection: sa.Connection
) -> None:
    store.recurring.save([definition()])
    before = store.recurring.get("nightly")

    def break_off() -> None:
        with store.database.driver.transaction(connection):
            store.recurring.write_ticks(connection, [due()])
            raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        break_off()
    assert store.recurring.get("nightly") == before
    assert row_count(store, store.database.tables.job) == 0
    assert row_count(store, store.database.tables.tick) == 0
    write(store, connection, due())
    assert row_count(store, store.database.tables.job) == 1


def test_history_is_forgotten_after_a_while(store: Store, connection: sa.Connection) -> None:
    tick = store.database.tables.tick
    rows = [
        {"recurring_id": "a", "due": DUE + n * timedelta(minutes=1), "outcome": "run"}
        for n in range(4)
    ]
    write_rows(store, tick, [row | {"created_at": store.now()} for row in rows])
    change(store, tick, tick.c.id <= 3, created_at=store.now() - timedelta(days=31))
    assert not store.recurring.tick_expiry(timedelta(days=30)).delete_some(connection)
    assert len(ticks_of(store, "a")) == 1


# -- finding what is due


def test_the_nearest(store: Store, connection: sa.Connection) -> None:
    row = store.database.tables.recurring_job
    now, nearest = store.recurring.nearest(connection, ["work"])
    assert abs(now - store.now()) < timedelta(seconds=5)
    assert nearest is None
    store.recurring.save([definition("a"), definition("b"), definition("c", task="strange")])
    change(store, row, row.c.id == "a", next_at=DUE)
    change(store, row, row.c.id == "c", next_at=DUE - timedelta(days=1))
    assert store.recurring.nearest(connection, ["work"])[1] == DUE
    assert store.recurring.nearest(connection, ["work", "strange"])[1] == DUE - timedelta(days=1)
    assert store.recurring.nearest(connection, [])[1] is None


def test_locks_what_is_due_only(store: Store, connection: sa.Connection) -> None:
    row = store.database.tables.recurring_job
    store.recurring.save(
        [definition(id) for id in "abcd"] + [definition("strange", task="strange")]
    )
    change(store, row, next_at=store.now() + timedelta(minutes=5))
    for number, id in enumerate(["b", "a", "strange"]):
        change(store, row, row.c.id == id, next_at=DUE + number * timedelta(seconds=1))
    with store.database.driver.transaction(connection):
        rows = store.recurring.lock_due(connection, ["work"], 10)
        assert [one.id for one in rows] == ["b", "a"]
        assert rows[0].next_at == DUE
        assert abs(rows[0].now - store.now()) < timedelta(seconds=5)
    with store.database.driver.transaction(connection):
        assert [one.id for one in store.recurring.lock_due(connection, ["work"], 1)] == ["b"]
    with store.database.driver.transaction(connection):
        assert store.recurring.lock_due(connection, [], 10) == []


@postgresql_only
def test_locks_step_over_those_of_others(store: Store, connection: sa.Connection) -> None:
    store.recurring.save([definition(id) for id in "abc"])
    change(store, store.database.tables.recurring_job, next_at=DUE)
    with store.database.begin() as other:
        assert len(store.recurring.lock_due(other, ["work"], 2)) == 2
        with store.database.driver.transaction(connection):
            assert len(store.recurring.lock_due(connection, ["work"], 3)) == 1


# -- the ticker


def test_one_tick_for_any_number_that_were_missed(store: Store, connection: sa.Connection) -> None:
    told: list[Notification] = []
    store.recurring.save([definition(queue="mail", priority=1)])
    change(store, store.database.tables.recurring_job, next_at=DUE)
    ticker(store, told.append).perform(connection)
    found = store.recurring.get("nightly")
    assert found is not None
    assert found.last_due is not None
    assert found.next_at == found.last_due + timedelta(minutes=1)
    assert found.last_due <= store.now() <= found.next_at + timedelta(seconds=5)
    assert row_count(store, store.database.tables.job) == 1
    assert told == [Notification(Topic.TICK, "mail", 1)]


def test_tickers_that_come_together_write_each_tick_once(
    store: Store, open_store: OpenStore
) -> None:
    stores = [open_store() for _ in range(4)]
    connections = [one.database.open("ticker") for one in stores]
    count = BATCH + 50
    store.recurring.save([definition(f"job-{number:03}") for number in range(count)])
    # One tick each, about two years of time for it.
    target = store.database.tables.recurring_job
    change(store, target, cron="0 0 29 2 *", next_at=datetime(2024, 2, 29, tzinfo=UTC))

    def tick(number: int) -> None:
        one = ticker(stores[number])
        while store.recurring.nearest(connections[number], ["work"])[1] == datetime(
            2024, 2, 29, tzinfo=UTC
        ):
            one.perform(connections[number])

    race(4, tick)
    for connection in connections:
        connection.close()
    with store.database.connect() as connection:
        job = store.database.tables.job.c
        rows = connection.execute(sa.select(job.recurring_id, job.due)).all()
    assert len(rows) == len(set(rows)) == count
    assert row_count(store, store.database.tables.tick) == count
    for one in store.recurring.all():
        assert one.next_at is not None
        assert one.next_at > store.now()
        assert one.last_job_id is not None
