"""Servers: signing on, beating, being found dead, and what becomes of the jobs they held."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_recurring._store import Store
from flask_recurring._store import rescue as rescuing
from flask_recurring._store.claim import LOST_LIMIT
from flask_recurring._store.rescue import Rescue
from flask_recurring._store.servers import KEPT, Lease, Others
from flask_recurring.job import JobState
from tests.processes import Spawn
from tests.store.conftest import Hire, OpenStore
from tests.store.race import race
from tests.store.samples import (
    MOMENT,
    change,
    fail,
    fetch,
    new_job,
    postgresql_only,
    row_count,
    sqlite_only,
)
from tests.store.worker import Worker, failure, new_server, success
from tests.waiting import wait_for

LEASE = Lease(overdue=5.0, ends=120.0)
TIMEOUT = LEASE.ends


def others(worker: Worker, lease: Lease = LEASE) -> Others:
    """Which others live and which are dead, as the worker knows it."""
    found = worker.store.servers.others(worker.connection, worker.id, lease)
    return Others(found.live, found.dead)


def silent(worker: Worker, seconds: float = 10.0, lease: Lease = LEASE) -> None:
    """Let the worker's last beat be so long ago."""
    fall_silent(worker.store, worker.id, seconds, lease)


def fall_silent(store: Store, server_id: int, seconds: float, lease: Lease = LEASE) -> None:
    server = store.database.tables.server.c
    for column, after in ((server.beat_at, 0.0), (server.overdue_at, lease.overdue)):
        fail(store, column, seconds - after, server.id == server_id)
    fail(store, server.lease_ends_at, seconds - lease.ends, server.id == server_id)


@contextmanager
def statements(connection: sa.Connection) -> Iterator[list[str]]:
    """The statements that are sent on the connection, each of a batch by itself."""
    sent: list[str] = []

    def note(_: Any, __: Any, text: str, values: Any, ___: Any, many: bool) -> None:
        sent.extend([text] * (len(values) if many else 1))

    sa.event.listen(connection, "before_cursor_execute", note)
    yield sent
    sa.event.remove(connection, "before_cursor_execute", note)


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
    server_id = store.servers.register(connection, new_server("hämster"))
    [info] = store.servers.live()
    assert (info.id, info.name, info.host, info.pid) == (server_id, "hämster", "host", 123)
    assert (info.application, info.version) == ("app", "1")
    assert (info.threads, info.busy, info.queues, info.silent) == (4, 0, ["*"], False)
    assert info.lease == 120.0
    assert before <= info.started_at <= info.beat_at <= store.now()


def test_a_beat_says_how_busy_it_is(store: Store, worker: Worker) -> None:
    silent(worker, 60)
    [info] = store.servers.live()
    assert info.silent
    assert store.servers.heartbeat(worker.connection, worker.id, busy=3) is True
    [info] = store.servers.live()
    assert (info.busy, info.silent) == (3, False)
    assert store.now() - info.beat_at < timedelta(seconds=5)


def test_a_server_that_signed_off_beats_no_more(store: Store, worker: Worker, hire: Hire) -> None:
    other = hire()
    store.servers.deregister(worker.connection, worker.id)
    assert [info.id for info in store.servers.live()] == [other.id]
    assert store.servers.heartbeat(worker.connection, worker.id, busy=0) is False
    assert store.servers.heartbeat(worker.connection, 4711, busy=0) is False
    assert others(other) == Others(0, [])


# -- death


def test_one_that_beats_is_alive(open_store: OpenStore, worker: Worker, hire: Hire) -> None:
    other = hire(open_store())
    found = worker.store.servers.others(worker.connection, worker.id, LEASE)
    assert found.manifests == frozenset([None]), "it declares nothing"
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


def test_each_is_judged_by_its_own_times(
    store: Store, open_store: OpenStore, worker: Worker, hire: Hire
) -> None:
    """Whatever the one that judges would allow."""
    patient, hasty = Lease(overdue=75.0, ends=600.0), Lease(overdue=0.5, ends=3.0)
    other = hire(open_store())
    other.store.servers.heartbeat(other.connection, other.id, 0, patient)
    silent(other, 35, patient)
    assert others(worker, hasty) == Others(1, [])
    assert [one.silent for one in store.servers.live() if one.id == other.id] == [False]
    silent(other, 601, patient)
    assert others(worker, LEASE) == Others(0, [other.id])
    silent(other, 4, hasty)
    assert others(worker, patient) == Others(0, [other.id])


def test_one_of_the_version_before_is_judged_as_before(
    store: Store, open_store: OpenStore, worker: Worker, hire: Hire
) -> None:
    other = hire(open_store())
    silent(other, 40)
    server = store.database.tables.server
    change(store, server, server.c.id == other.id, overdue_at=None, lease_ends_at=None)
    assert [one.silent for one in store.servers.live() if one.id == other.id] == [True]
    assert others(worker, Lease(overdue=5.0, ends=60.0)) == Others(1, [])
    assert others(worker, Lease(overdue=5.0, ends=30.0)) == Others(0, [other.id])
    silent(other, 20)
    change(store, server, server.c.id == other.id, overdue_at=None, lease_ends_at=None)
    assert [one.silent for one in store.servers.live() if one.id == other.id] == [False]


def test_one_is_shown_as_silent_by_its_own_times(store: Store, worker: Worker) -> None:
    for lease, seconds, expected in (
        (Lease(overdue=0.5, ends=3.0), 1.0, True),
        (Lease(overdue=75.0, ends=600.0), 60.0, False),
        (Lease(overdue=75.0, ends=600.0), 76.0, True),
    ):
        silent(worker, seconds, lease)
        assert [one.silent for one in store.servers.live()] == [expected]


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
        "from flask_recurring._store import Database, Store, create_engine\n"
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
    fall_silent(store, other, 10)
    assert others(worker) == Others(1, [])
    process.kill()
    assert others(worker) == Others(0, [other])


@sqlite_only
def test_signing_off_leaves_no_file_behind(database_url: str, store: Store, worker: Worker) -> None:
    folder = Path(sa.make_url(database_url).database or "").parent
    assert [name for name in os.listdir(folder) if "server-" in name]
    store.servers.deregister(worker.connection, worker.id)
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
    assert store.servers.heartbeat(worker.connection, worker.id, 0) is False
    other = hire(name="other")
    again = other.claim()
    assert [job.id for job in again] == found + newer
    assert {(job.claim, job.attempt) for job in again[:3]} == {(2, 2)}
    assert worker.complete([success(run) for run in runs]).successes == 0


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
                worker.complete([success(job) for job in runs[start : start + 20]]).successes
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
    assert worker.complete([success(run)]).successes == 0
    assert worker.complete((), [failure(run, retry_in=1)]).failures == set()
    assert worker.release(run) == 0
    assert fetch(store, job.id).state is JobState.ENQUEUED
    assert len(store.jobs.attempts(job.id)) == 1


def test_very_many_jobs_come_back_in_chunks_with_few_statements(
    store: Store, worker: Worker, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescuing, "CHUNK", 40)
    store.jobs.insert_many(new_job() for _ in range(100))
    assert len(worker.claim(100)) == 100
    other = hire()
    done: list[Rescue] = []
    for expected in (40, 40, 20):
        with statements(other.connection) as sent:
            done.append(store.servers.rescue(other.connection, [worker.id]))
        assert done[-1].requeued == expected
        # However many jobs there are.
        assert len(sent) <= 8, sent
        # From the first chunk on it can't go on as if nothing had happened.
        assert store.servers.heartbeat(worker.connection, worker.id, 0) is False
    assert [one.more for one in done] == [True, True, False]
    assert [one.servers for one in done] == [["worker"], [], []]
    assert store.jobs.counts()[JobState.ENQUEUED].value == 100
    assert row_count(store, store.database.tables.attempt) == 100


@postgresql_only
def test_a_rescue_waits_for_no_row_that_is_locked(
    store: Store, worker: Worker, hire: Hire, engine: sa.Engine
) -> None:
    held, free = store.jobs.insert_many(new_job() for _ in range(2))
    worker.claim()
    other = hire()
    job = store.database.tables.job
    with engine.begin() as somebody:
        somebody.execute(sa.select(job.c.id).where(job.c.id == held).with_for_update())
        rescue = store.servers.rescue(other.connection, [worker.id])
        assert (rescue.requeued, rescue.more) == (1, True)
        assert fetch(store, free).state is JobState.ENQUEUED
    rescue = store.servers.rescue(other.connection, [worker.id])
    assert (rescue.requeued, rescue.more) == (1, False)


# -- strays


def test_a_claim_that_crossed_the_sign_off_is_found(store: Store, worker: Worker) -> None:
    assert store.servers.leaked(worker.connection) == []
    store.jobs.insert_many(new_job() for _ in range(3))
    worker.claim(2)
    assert store.servers.leaked(worker.connection) == []
    store.servers.deregister(worker.connection, worker.id)
    assert store.servers.leaked(worker.connection) == [worker.id]
    assert store.servers.rescue(worker.connection, [worker.id]) == Rescue([], 2, 0)
    assert store.servers.leaked(worker.connection) == []


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
        store.servers.deregister(one.connection, one.id)
    fail(store, server.stopped_at, KEPT + 60, server.id.in_([old.id, holding.id]))
    fail(store, server.beat_at, KEPT + 60)
    assert not store.servers.expiry().delete_some(connection)
    with store.database.connect() as reading:
        left = reading.execute(sa.select(server.id).order_by(server.id)).scalars().all()
    assert left == [worker.id, recent.id, holding.id]
    assert fetch(store, job.id).server is None


def test_an_attempt_outlives_the_row_of_its_server(
    store: Store, worker: Worker, connection: sa.Connection
) -> None:
    job = store.jobs.insert(new_job())
    worker.fail(worker.claim_one())
    store.servers.deregister(worker.connection, worker.id)
    change(store, store.database.tables.server, stopped_at=MOMENT)
    assert not store.servers.expiry().delete_some(connection)
    [attempt] = store.jobs.attempts(job.id)
    assert attempt.server is None
