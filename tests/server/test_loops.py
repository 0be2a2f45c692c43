"""What hangs or fails in one of a server's loops holds nothing up in the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from flask_recurring import JobContext, JobState, Scheduler
from flask_recurring._server import server as serving
from flask_recurring._server.periodic_loop import PeriodicLoop
from flask_recurring._store import Database, Store, create_engine
from tests.applications import (
    Applications,
    binding_of,
    job_of,
    servers_ever,
    store_of,
    wait_for_job,
)
from tests.store.samples import fail, new_job, ticks_of
from tests.store.worker import Worker
from tests.waiting import wait_for


@contextmanager
def held(url: str, statement: str, *values: str) -> Iterator[None]:
    """A transaction of somebody else who has executed this and does not go on."""
    engine = sa.create_engine(url)
    with engine.connect() as operator:
        operator.exec_driver_sql(statement, values)
        yield
        operator.rollback()
    engine.dispose()


def dead_with_a_job(store: Store, url: str) -> int:
    """Let there be a server that was killed some time ago while it ran this job."""
    server = store.database.tables.server.c
    database = Database(create_engine(url))
    worker = Worker(Store(database), tasks=["lost"])
    job = store.jobs.insert(new_job(task="lost"))
    worker.claim_one()
    worker.close()
    database.close()
    database.bare_engine.dispose()
    fail(store, server.beat_at, 60, server.id == worker.id)
    fail(store, server.overdue_at, 60, server.id == worker.id)
    return job.id


@pytest.mark.parametrize("fails", ["promoting", "ticking", "reconciling"])
def test_one_task_that_fails_again_and_again_keeps_no_dead_server_from_being_found(
    apps: Applications, database_url: str, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    scheduler = Scheduler()
    scheduler.task("work")(lambda: None)
    app = apps.make(scheduler, database_url)
    store = store_of(app)
    failures = threading.Semaphore(0)

    def fail(*_: Any, **__: Any) -> None:
        failures.release()
        raise RuntimeError("it is broken")

    where: dict[str, tuple[object, str]] = {
        "promoting": (store.recurring, "promote"),
        "ticking": (store.recurring, "nearest"),
        "reconciling": (store.recurring, "orphaned"),
    }
    monkeypatch.setattr(*where[fails], fail)
    apps.start(app)
    for _ in range(3):
        assert failures.acquire(timeout=20)
    job = dead_with_a_job(store, database_url)

    wait_for(lambda: job_of(app, job).error, timeout=10, message="its rescue")
    assert [one.outcome for one in store.jobs.attempts(job)] == ["Lost"]
    assert failures.acquire(timeout=10), "it goes on failing"


class PeriodicTask:
    """Counts how often it is performed, and on which connections."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = name
        self.next_at = 0.0
        self.count = 0
        self.connections: set[sa.Connection] = set()
        self._error = error

    def perform(self, connection: sa.Connection) -> None:
        self.count += 1
        self.connections.add(connection)
        if self._error is not None:
            raise self._error
        self.next_at = time.monotonic() + 0.05


def test_a_task_that_fails_leaves_its_loop_and_its_connection_to_the_others(
    apps: Applications, database_url: str
) -> None:
    store = store_of(apps.make(Scheduler(), database_url))
    good, bad = PeriodicTask("good"), PeriodicTask("bad", ValueError("it is broken"))
    loop = PeriodicLoop(store.database.dedicated("test"), [bad, good])
    thread = threading.Thread(target=loop.run)
    thread.start()
    wait_for(lambda: bad.count >= 4 and good.count >= 10)
    loop.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert len(good.connections | bad.connections) == 1


def test_a_tick_that_hangs_holds_up_no_heartbeat(apps: Applications, postgres_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.recurring("job", "* * * * * *")
    def work() -> None: ...

    app = apps.make(scheduler, postgres_url)
    apps.start(app)
    store = store_of(app)
    wait_for(lambda: ticks_of(store, "job"))

    def ticker_waits() -> bool:
        with store.database.connect() as connection:
            return bool(
                connection.exec_driver_sql(
                    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name = 'flask_recurring control' AND wait_event_type = 'Lock'"
                ).all()
            )

    def beat_at() -> Any:
        return store.servers.live()[0].beat_at

    with held(postgres_url, "LOCK TABLE flask_recurring.recurring_job"):
        wait_for(ticker_waits)
        before = beat_at()
        wait_for(lambda: (beat_at() - before).total_seconds() > 1, timeout=5)
        assert ticker_waits()


def test_declarations_that_hang_hold_up_no_time_limit(
    apps: Applications, postgres_url: str
) -> None:
    scheduler = Scheduler()

    @scheduler.task(timeout=0.5, retry=0)
    def work(context: JobContext) -> None:
        context.wait(30)

    app = apps.make(scheduler, postgres_url)
    apps.start(app)
    with held(
        postgres_url,
        "SELECT pg_advisory_xact_lock(hashtext('flask_recurring'), hashtext(%s))",
        "flask_recurring definitions",
    ):
        scheduler.recurring("late", "* * * * * *")(work)

        def waits() -> bool:
            with store_of(app).database.connect() as connection:
                asked = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                return bool(connection.exec_driver_sql(asked).all())

        wait_for(waits, message="a server that waits to write its declarations")
        assert wait_for_job(app, work.enqueue(), timeout=5).state is JobState.FAILED
        assert waits()
    wait_for(lambda: store_of(app).recurring.get("late"))


def test_stop_works_while_setting_up_hangs_and_nothing_begins_after_it(
    apps: Applications, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "CLOSING", 0.5)
    app = apps.make(Scheduler(), postgres_url)
    # As another process does that hangs in the middle of a migration.
    with held(
        postgres_url,
        "SELECT pg_advisory_xact_lock(hashtext('flask_recurring'), hashtext(%s))",
        "flask_recurring",
    ):
        server = binding_of(app).start_server()
        engine = sa.create_engine(postgres_url)
        with engine.connect() as operator:
            asked = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            wait_for(lambda: operator.exec_driver_sql(asked).all())
        engine.dispose()
        server.stop()
        assert not server.running

    def threads() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name.startswith("recurring-s")]

    wait_for(lambda: not threads(), message="the end of its last thread")
    assert not server.ready.is_set()
    assert servers_ever(app) == 0


def test_stop_works_while_registering_hangs(apps: Applications, postgres_url: str) -> None:
    app = apps.make(Scheduler(), postgres_url)
    store = store_of(app)
    with held(postgres_url, "LOCK TABLE flask_recurring.server"):
        server = binding_of(app).start_server()

        def waits() -> bool:
            with store.database.connect() as connection:
                asked = "SELECT 1 FROM pg_locks WHERE NOT granted"
                return bool(connection.exec_driver_sql(asked).all())

        wait_for(waits)
        server.stop()
    wait_for(lambda: not [t for t in threading.enumerate() if t.name == "recurring-supervisor"])
    assert not server.ready.is_set()
    assert store.servers.live() == []
