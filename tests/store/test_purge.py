"""Deleting jobs that have been kept for long enough, with all that hangs on them."""

from __future__ import annotations

import time
from datetime import timedelta

import sqlalchemy as sa

from flask_recurring._store import ConsoleRow, Store
from flask_recurring._store.purge import CHUNK as PURGE_CHUNK
from flask_recurring.job import JobState
from tests.store.conftest import OpenStore
from tests.store.race import race
from tests.store.samples import change, fail, new_job, postgresql_only, row_count, write_rows
from tests.store.worker import Worker, failure, success

DAY = timedelta(days=1)

ENDS = [JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED]


def fill(store: Store, count: int, state: JobState, age: timedelta) -> None:
    """Add so many jobs that finished so long ago."""
    at = store.now() - age
    job = {"task": "work", "arguments": "[[],{}]", "queue": "default", "priority": 0}
    times = {"run_at": at, "created_at": at, "finished_at": at}
    write_rows(store, store.database.tables.job, [job | times | {"state": state.value}] * count)


def states(store: Store) -> dict[str, int]:
    """How many jobs there are of each state."""
    job = store.database.tables.job.c
    statement = sa.select(job.state, sa.func.count()).group_by(job.state)
    with store.database.connect() as connection:
        return {row.state: row[1] for row in connection.execute(statement)}


def test_deletes_the_old_ones_of_these_states_only(store: Store, worker: Worker) -> None:
    for state in ENDS:
        fill(store, 3, state, 2 * DAY)
        fill(store, 2, state, timedelta(hours=23))
    store.jobs.insert_many([new_job(delay=60), new_job(), new_job()])
    worker.claim(1)
    change(store, store.database.tables.job, created_at=store.now() - 9 * DAY)
    assert store.jobs.purge(DAY, [JobState.SUCCEEDED, JobState.DELETED]) == 6
    assert states(store) == {
        "Succeeded": 2,
        "Deleted": 2,
        "Failed": 5,
        "Enqueued": 2,
        "Processing": 1,
    }
    assert store.jobs.purge(DAY, [JobState.SUCCEEDED, JobState.DELETED]) == 0
    assert store.jobs.purge(DAY, []) == 0
    assert store.jobs.purge(timedelta(0), list(JobState)) == 9
    assert states(store) == {"Enqueued": 2, "Processing": 1}


def test_a_job_takes_its_attempts_and_its_consoles_along(store: Store, worker: Worker) -> None:
    old, kept = store.jobs.insert_many(new_job() for _ in range(2))
    for _ in range(2):
        runs = worker.claim()
        lines = [
            ConsoleRow(run.id, run.claim, seq, time.monotonic(), "a line", None, None, None)
            for run in runs
            for seq in (1, 2)
        ]
        worker.complete((), [failure(run, retry_in=0) for run in runs], lines)
    worker.complete([success(run) for run in worker.claim()])
    job = store.database.tables.job
    fail(store, job.c.finished_at, 2 * DAY, job.c.id == old)
    assert store.jobs.purge(DAY, ENDS) == 1
    assert store.jobs.get(old) is None
    assert store.jobs.attempts(old) == []
    assert store.console.claims(old) == []
    assert len(store.jobs.attempts(kept)) == 2
    assert store.console.claims(kept) == [1, 2]
    assert row_count(store, store.database.tables.attempt) == 2
    assert row_count(store, store.database.tables.console) == 4


def test_deletes_in_chunks_the_oldest_first(store: Store, connection: sa.Connection) -> None:
    fill(store, 100, JobState.SUCCEEDED, 2 * DAY)
    fill(store, PURGE_CHUNK, JobState.SUCCEEDED, 3 * DAY)
    job = store.database.tables.job.c
    oldest = sa.select(sa.func.min(job.finished_at))
    assert store.jobs.purge_chunk(connection, JobState.SUCCEEDED, DAY) == (PURGE_CHUNK, True)
    assert store.now() - connection.execute(oldest).scalar_one() < timedelta(days=2, minutes=1)
    assert store.jobs.purge_chunk(connection, JobState.SUCCEEDED, DAY) == (100, False)
    assert store.jobs.purge_chunk(connection, JobState.SUCCEEDED, DAY) == (0, False)


def test_all_chunks_are_deleted_by_one_call(store: Store) -> None:
    count = 2 * PURGE_CHUNK
    fill(store, count, JobState.FAILED, 2 * DAY)
    fill(store, 1, JobState.SUCCEEDED, 2 * DAY)
    assert store.jobs.purge(DAY, ENDS) == count + 1
    assert states(store) == {}


def test_several_that_purge_count_each_job_once(store: Store, open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(3)]
    count = 2 * PURGE_CHUNK + 17
    fill(store, count, JobState.DELETED, 2 * DAY)
    assert sum(race(3, lambda number: stores[number].jobs.purge(DAY, ENDS))) == count
    assert states(store) == {}


@postgresql_only
def test_a_job_that_somebody_works_on_is_stepped_over(store: Store) -> None:
    fill(store, 3, JobState.SUCCEEDED, 2 * DAY)
    with store.database.begin() as connection:
        connection.exec_driver_sql("SELECT 1 FROM flask_recurring.job WHERE id = 2 FOR UPDATE")
        assert store.jobs.purge(DAY, ENDS) == 2
    assert store.jobs.purge(DAY, ENDS) == 1


def test_a_job_that_is_requeued_at_the_same_time_is_purged_or_runs(
    store: Store, open_store: OpenStore, worker: Worker
) -> None:
    other = open_store()
    count = 300
    fill(store, count, JobState.FAILED, 2 * DAY)

    def run(number: int) -> int:
        if number == 0:
            return other.jobs.purge(DAY, ENDS)
        return sum(store.jobs.requeue(id) for id in range(count, 0, -10))

    purged, requeued = race(2, run)
    assert purged + requeued == count
    assert len(worker.claim(count)) == requeued
