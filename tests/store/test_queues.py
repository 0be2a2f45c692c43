"""Queues: pausing and resuming them."""

from __future__ import annotations

from flask_recurring._store import Store
from tests.store.conftest import OpenStore
from tests.store.race import race
from tests.store.samples import new_job, row_count
from tests.store.worker import Worker


def paused(worker: Worker) -> frozenset[str]:
    return worker.driver.discover_lanes(worker.connection).paused


def test_a_queue_is_paused_until_it_is_resumed(store: Store, worker: Worker) -> None:
    store.jobs.insert_many(new_job(queue=queue, priority=p) for queue in "ab" for p in (0, 1))
    assert paused(worker) == set()
    store.queues.pause("a")
    store.queues.pause("a")
    assert paused(worker) == {"a"}
    assert len(worker.lanes()) == 4
    store.queues.pause("b")
    store.queues.resume("a")
    assert paused(worker) == {"b"}
    store.queues.resume("b")
    store.queues.resume("b")
    assert paused(worker) == set()
    assert row_count(store, store.database.tables.queue) == 2


def test_a_queue_that_has_no_jobs_yet_can_be_paused(store: Store, worker: Worker) -> None:
    store.queues.pause("later")
    store.queues.resume("never paused")
    assert worker.lanes() == []
    assert paused(worker) == {"later"}


def test_many_at_once(store: Store, open_store: OpenStore, worker: Worker) -> None:
    stores = [open_store() for _ in range(4)]
    store.jobs.insert(new_job(queue="a"))

    def run(number: int) -> None:
        for _ in range(10):
            stores[number].queues.pause("a") if number % 2 else stores[number].queues.resume("a")

    race(4, run)
    assert row_count(store, store.database.tables.queue) == 1
    store.queues.pause("a")
    assert paused(worker) == {"a"}
