"""Servers: signing on, beating, being found dead, and what becomes of the jobs they held."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from flask_recurring.job import JobState
from flask_recurring.store import Store
from flask_recurring.store.claim import LOST_LIMIT
from flask_recurring.store.servers import KEPT, Others, Rescue
from tests.processes import Spawn
from tests.store.conftest import Hire, OpenStore
from tests.store.race import race
from tests.store.samples import (
    MOMENT,
    change,
    fetch,
    new_job,
    postgresql_only,
    row_count,
    set_back,
    sqlite_only,
)
from tests.store.worker import Worker, new_server, setback, success
from tests.waiting import wait_for

MISSED, TIMEOUT = 5.0, 120.0


def others(worker: Worker) -> Others:
    """What the worker knows of the others."""
    return worker.store.servers.others(worker.connection, worker.id, MISSED, TIMEOUT)


def silent(worker: Worker, seconds: float = 10.0) -> None:
    """Let the worker's last beat be so long ago."""
    server = worker.store.database.tables.server.c
    set_back(worker.store, server.beat_at, seconds, server.id == worker.id)


def presence(worker: Worker) -> str | None:
    """The worker's sign of life as its row has it."""
    server = worker.store.database.tables.server.c
    with worker.store.database.connect() as connection:
        found: str | None = connection.execute(
            sa.select(server.presence).where(server.id == worker.id)
        ).scalar_one()
    return found


# -- life


def test_a_server_reads_back(store: Store, connection: sa.Connection) -> None:
    before = store.now()
    server_id = store.servers.sign_on(connection, new_server("hämster"))
    [info] = store.servers.live()
    assert (info.id, info.name, info.host, info.pid) == (server_id, "hämster", "host", 123)
    assert (info.application, info.version) == ("app", "1")
    assert (info.threads, info.busy, info.queues, info.silent) == (4, 0, ["*"], False)
    assert before <= info.started_at <= info.beat_at <= store.now()


def test_a_beat_says_how_busy_it_is(store: Store, worker: Worker) -> None:
    silent(worker, 60)
    [info] = store.servers.live()
    assert info.silent
    assert store.servers.beat(worker.connection, worker.id, busy=3) is True
    [info] = store.servers.live()
    assert (info.busy, info.silent) == (3, False)
    assert store.now() - info.beat_at < timedelta(seconds=5)


def test_a_server_that_signed_off_beats_no_more(store: Store, worker: Worker, hire: Hire) -> None:
    other = hire()
    store.servers.sign_off(worker.connection, worker.id)
    assert [info.id for info in store.servers.live()] == [other.id]
    assert store.servers.beat(worker.connection, worker.id, busy=0) is False
    assert store.servers.beat(worker.connection, 4711, busy=0) is False
    assert others(other) == Others(0, [])


# -- death


def test_one_that_beats_is_alive(open_store: OpenStore, worker: Worker, hire: Hire) -> None:
    other = hire(open_store())
    assert others(worker) == Others(1, [])
    assert others(other) == Others(1, [])


def test_one_that_lives_is_not_dead_although_it_is_silent(
    open_store: OpenStore, worker: Worker, hire: Hire
) -> None:
    other = hire(open_store())
    silent(other, TIMEOUT - 20)
    assert others(worker) == Others(1, [])
    silent(other, TIMEOUT + 1)
    assert others(worker) == Others(0, [other.id])


def test_one_that_is_gone_is_dead_once_it_has_missed_a_beat(
    open_store: OpenStore, worker: Worker, hire: Hire
) -> None:
    other = hire(open_store())
    other.close()
    assert others(worker) == Others(1, [])
    silent(other)
    # PostgreSQL takes a moment to see that the client has gone.
    wait_for(lambda: others(worker) == Others(0, [other.id]))


def test_one_without_a_sign_of_life_is_dead_after_the_timeout_only(
    store: Store, open_store: OpenStore, worker: Worker, hire: Hire
) -> None:
    other = hire(open_store())
    change(store, store.database.tables.server, presence=None)
    other.close()
    silent(other, TIMEOUT - 20)
    assert others(worker) == Others(1, [])
    silent(other, TIMEOUT + 1)
    assert others(worker) == Others(0, [other.id])


@postgresql_only
def test_a_backend_that_was_ended_is_gone(
    store: Store, open_store: OpenStore, worker: Worker, hire: Hire
) -> None:
    other = hire(open_store())
    silent(other)
    with store.database.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(%s)", (int((presence(other) or "").split()[0]),)
        )
    wait_for(lambda: others(worker).dead == [other.id])


@postgresql_only
def test_a_backend_is_the_same_in_every_time_zone(
    database_url: str, open_store: OpenStore, worker: Worker, hire: Hire
) -> None:
    url = sa.make_url(database_url).update_query_dict({"options": "-c timezone=Asia/Tokyo"})
    elsewhere = open_store(url.render_as_string(hide_password=False))
    other = hire(elsewhere)
    assert presence(other) is not None
    silent(other)
    silent(worker)
    assert others(worker) == Others(1, [])
    assert others(other) == Others(1, [])


@postgresql_only
def test_another_backend_with_the_same_number_is_no_sign_of_life(
    store: Store, worker: Worker, hire: Hire
) -> None:
    other = hire()
    known = presence(other)
    assert known is not None
    pid, date, time = known.split()
    server = store.database.tables.server
    change(store, server, server.c.id == other.id, presence=f"{pid} 2001-01-01 00:00:00.000001")
    silent(other)
    assert others(worker).dead == [other.id]
    assert date > "2024"
    assert ":" in time


@sqlite_only
def test_a_killed_process_lets_go_of_its_lock(
    database_url: str, store: Store, worker: Worker, spawn: Spawn
) -> None:
    script = (
        "import sys, threading\n"
        "from flask_recurring.store import Database, Store, create_engine\n"
        "from tests.store.worker import Worker\n"
        "worker = Worker(Store(Database(create_engine(sys.argv[1]))))\n"
        "print('signed on', worker.id, flush=True)\n"
        "threading.Event().wait(600)\n"
    )
    folder = Path(__file__).parents[2]
    process = spawn(
        [sys.executable, "-c", script, database_url], env={"PYTHONPATH": str(folder)}, cwd=folder
    )
    other = int(process.wait_for_line(r"signed on (\d+)")[1])
    server = store.database.tables.server.c
    set_back(store, server.beat_at, 10, server.id == other)
    assert others(worker) == Others(1, [])
    process.kill()
    assert others(worker) == Others(0, [other])


@sqlite_only
def test_signing_off_leaves_no_file_behind(database_url: str, store: Store, worker: Worker) -> None:
    folder = Path(sa.make_url(database_url).database or "").parent
    assert [name for name in os.listdir(folder) if "server-" in name]
    store.servers.sign_off(worker.connection, worker.id)
    assert [name for name in os.listdir(folder) if "server-" in name] == []


# -- rescue


def test_the_jobs_of_a_dead_server_run_again_before_newer_ones(
    store: Store, worker: Worker, hire: Hire
) -> None:
    found = store.jobs.insert_many(new_job() for _ in range(3))
    runs = worker.claim()
    newer = store.jobs.insert_many(new_job() for _ in range(2))
    assert store.servers.rescue(worker.connection, [worker.id]) == Rescue(["worker"], 3, 0)
    for id in found:
        job = fetch(store, id)
        assert (job.state, job.attempt, job.claim) == (JobState.ENQUEUED, 1, 1)
        assert (job.started_at, job.finished_at) == (None, None)
        assert job.error == "ServerLost: its server died while it ran"
        [attempt] = store.jobs.attempts(id)
        assert (attempt.outcome, attempt.claim, attempt.attempt) == ("Lost", 1, 1)
        assert (attempt.server, attempt.error_type) == ("worker", "ServerLost")
        assert attempt.started_at <= attempt.finished_at
    assert store.servers.beat(worker.connection, worker.id, 0) is False
    other = hire(name="other")
    again = other.claim()
    assert [job.id for job in again] == found + newer
    assert {(job.claim, job.attempt) for job in again[:3]} == {(2, 2)}
    assert worker.settle([success(run) for run in runs]).successes == 0


def test_a_job_that_is_lost_again_and_again_is_parked(store: Store, hire: Hire) -> None:
    job = store.jobs.insert(new_job())
    for number in range(1, LOST_LIMIT + 1):
        worker = hire(name=f"worker-{number}")
        run = worker.claim_one()
        assert run.claim == number
        rescue = store.servers.rescue(worker.connection, [worker.id])
        last = number == LOST_LIMIT
        assert rescue == Rescue([f"worker-{number}"], int(not last), int(last))
    parked = fetch(store, job.id)
    assert parked.state is JobState.FAILED
    assert parked.finished_at is not None
    assert parked.error == "ServerLost: its server died while it ran, 3 times in all"
    assert [one.outcome for one in store.jobs.attempts(job.id)] == ["Lost"] * LOST_LIMIT
    assert hire().claim() == []
    assert [one.id for one in store.jobs.page(JobState.FAILED).items] == [job.id]
    # An operator's requeue forgives.
    store.jobs.requeue(job.id)
    worker = hire()
    worker.claim_one()
    assert store.servers.rescue(worker.connection, [worker.id]).requeued == 1


def test_what_a_job_survived_between_is_not_forgiven_by_a_retry(store: Store, hire: Hire) -> None:
    store.jobs.insert(new_job())
    for _ in range(2):
        worker = hire()
        worker.claim_one()
        store.servers.rescue(worker.connection, [worker.id])
        worker = hire()
        worker.fail(worker.claim_one(), retry_in=0)
    worker = hire()
    worker.claim_one()
    assert store.servers.rescue(worker.connection, [worker.id]).parked == 1


def test_a_lost_job_that_was_to_stop_is_deleted(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    worker.claim_one()
    store.jobs.delete(job.id)
    store.servers.rescue(worker.connection, [worker.id])
    gone = fetch(store, job.id)
    assert gone.state is JobState.DELETED
    assert gone.finished_at is not None
    assert [one.outcome for one in store.jobs.attempts(job.id)] == ["Lost"]


def test_only_the_jobs_of_the_dead_are_taken_back(store: Store, worker: Worker, hire: Hire) -> None:
    store.jobs.insert_many(new_job() for _ in range(5))
    other = hire()
    lost, kept = worker.claim(2), other.claim(2)
    worker.succeed(lost[1])
    rescue = store.servers.rescue(other.connection, [worker.id])
    assert (rescue.requeued, rescue.parked) == (1, 0)
    assert other.succeed(*kept) == 2
    assert store.servers.rescue(other.connection, []) == Rescue([], 0, 0)


def test_many_who_rescue_at_once_do_it_once(
    store: Store, open_store: OpenStore, worker: Worker, hire: Hire
) -> None:
    count = 200
    store.jobs.insert_many(new_job() for _ in range(count))
    runs = worker.claim(count)
    rescuers = [hire(open_store()) for _ in range(3)]

    def run(number: int) -> Rescue | int:
        if number == 3:
            # And the dead one was not dead at all.
            return sum(
                worker.settle([success(job) for job in runs[start : start + 20]]).successes
                for start in range(0, count, 20)
            )
        return rescuers[number].store.servers.rescue(rescuers[number].connection, [worker.id])

    results = race(4, run)
    rescues = [result for result in results if isinstance(result, Rescue)]
    [succeeded] = [result for result in results if isinstance(result, int)]
    assert [name for rescue in rescues for name in rescue.servers] == ["worker"]
    assert sum(rescue.requeued for rescue in rescues) + succeeded == count
    assert row_count(store, store.database.tables.attempt) == count - succeeded
    counts = store.jobs.counts()
    assert counts[JobState.SUCCEEDED].value == succeeded
    assert counts[JobState.ENQUEUED].value == count - succeeded


def test_an_end_that_comes_after_the_rescue_counts_no_more(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    run = worker.claim_one()
    store.servers.rescue(worker.connection, [worker.id])
    assert worker.settle([success(run)]).successes == 0
    assert worker.settle((), [setback(run, retry_in=1)]).setbacks == set()
    assert worker.hand_back(run) == 0
    assert fetch(store, job.id).state is JobState.ENQUEUED
    assert len(store.jobs.attempts(job.id)) == 1


# -- strays


def test_a_claim_that_crossed_the_sign_off_is_found(store: Store, worker: Worker) -> None:
    assert store.servers.strays(worker.connection) == []
    store.jobs.insert_many(new_job() for _ in range(3))
    worker.claim(2)
    assert store.servers.strays(worker.connection) == []
    store.servers.sign_off(worker.connection, worker.id)
    assert store.servers.strays(worker.connection) == [worker.id]
    assert store.servers.rescue(worker.connection, [worker.id]) == Rescue([], 2, 0)
    assert store.servers.strays(worker.connection) == []


# -- forgetting


def test_servers_are_forgotten_after_a_while(
    store: Store, worker: Worker, hire: Hire, connection: sa.Connection
) -> None:
    server = store.database.tables.server.c
    old, recent, holding = hire(), hire(), hire()
    job = store.jobs.insert(new_job())
    old.succeed(old.claim_one())
    store.jobs.insert(new_job())
    holding.claim_one()
    for one in (old, recent, holding):
        store.servers.sign_off(one.connection, one.id)
    set_back(store, server.stopped_at, KEPT + 60, server.id.in_([old.id, holding.id]))
    set_back(store, server.beat_at, KEPT + 60)
    store.servers.purge(connection)
    with store.database.connect() as reading:
        left = reading.execute(sa.select(server.id).order_by(server.id)).scalars().all()
    assert left == [worker.id, recent.id, holding.id]
    assert fetch(store, job.id).server is None


def test_an_attempt_outlives_the_row_of_its_server(
    store: Store, worker: Worker, connection: sa.Connection
) -> None:
    job = store.jobs.insert(new_job())
    worker.fail(worker.claim_one())
    store.servers.sign_off(worker.connection, worker.id)
    change(store, store.database.tables.server, stopped_at=MOMENT)
    store.servers.purge(connection)
    [attempt] = store.jobs.attempts(job.id)
    assert attempt.server is None
