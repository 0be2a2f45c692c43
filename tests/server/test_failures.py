"""What a server does when its database is down, goes away, or is held by somebody else."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import make_url
from sqlalchemy.orm import Session

from flask_recurring import (
    AllowAll,
    Job,
    JobContext,
    JobState,
    Scheduler,
    StoreUnavailable,
    StoreUnusable,
)
from flask_recurring._store.claim import Claimed
from tests.applications import (
    Applications,
    binding_of,
    job_of,
    lines_of,
    servers_ever,
    store_of,
    wait_for_all,
    wait_for_job,
)
from tests.postgres import Cluster, Server, StopMode
from tests.standstill import STANDS_STILL
from tests.waiting import wait_for


class Worked:
    """An application whose task counts its runs."""

    def __init__(self, apps: Applications, url: str, **settings: Any) -> None:
        self.runs: Counter[int] = Counter()
        self.lock = threading.Lock()
        self.scheduler = Scheduler()

        @self.scheduler.task("work")
        def work(context: JobContext, seconds: float = 0.0) -> str:
            with self.lock:
                self.runs[context.job_id] += 1
            if seconds:
                threading.Event().wait(seconds)
            return "done"

        self.work = work
        self.app: Flask = apps.make(self.scheduler, url, **settings)

    def enqueue(self, seconds: float = 0.0) -> Job | None:
        """A job, or None if the database can't be reached."""
        with suppress(StoreUnavailable):
            return self.work.enqueue(seconds)
        return None


def said(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    """The warnings with this part."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and part in record.getMessage()
    ]


# -- down at the start


def test_database_that_is_down_at_the_start_is_waited_for(
    apps: Applications, private_postgres: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    url = private_postgres.create_database()
    private_postgres.stop()
    shop = Worked(apps, url, dashboard_authorization=[AllowAll()])
    shop.app.add_url_rule("/", view_func=lambda: "the shop is open")

    server = binding_of(shop.app).start_server()
    wait_for(lambda: said(caplog, "Starting, with the job database: "))

    client = shop.app.test_client()
    assert client.get("/").text == "the shop is open"
    assert client.get("/hangfire/").status_code == 503
    with pytest.raises(StoreUnavailable, match="the job database can't be reached: connection"):
        shop.work.enqueue()
    assert not server.ready.is_set()

    private_postgres.start()

    wait_for(server.ready.is_set, timeout=10)
    assert wait_for_job(shop.app, shop.work.enqueue()).result == "done"
    assert client.get("/hangfire/").status_code == 200
    (message,) = said(caplog, "Starting, with the job database: the job database can't")
    assert "Trying again until it works" in message
    assert "\n" not in message
    assert len(said(caplog, "works again")) == 1


# -- gone under way


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_server_survives_a_restart_of_the_database(
    apps: Applications,
    private_postgres: Cluster,
    caplog: pytest.LogCaptureFixture,
    mode: StopMode,
) -> None:
    shop = Worked(apps, private_postgres.create_database())
    server = apps.start(shop.app)
    jobs: list[int] = []
    ending = threading.Event()

    def enqueue_on_and_on() -> None:
        while not ending.is_set():
            if (job := shop.enqueue()) is not None:
                jobs.append(job.id)
            ending.wait(0.002)

    customer = threading.Thread(target=enqueue_on_and_on)
    customer.start()
    long = shop.enqueue(1.5)
    assert long is not None
    wait_for(lambda: len(jobs) > 100)

    private_postgres.restart(mode)

    after = len(jobs)
    wait_for(lambda: len(jobs) > after + 100, timeout=20, message="new jobs after the restart")
    ending.set()
    customer.join()

    done = wait_for_all(shop.app, [*jobs, long], timeout=30)
    assert {(job.state, job.result) for job in done} == {(JobState.SUCCEEDED, "done")}
    # Its runs were never interrupted, so none was begun twice, whatever became of its connections.
    again = {id: count for id, count in shop.runs.items() if count > 1}
    assert again == {}
    assert servers_ever(shop.app) == 1, "it is the same server all the while"
    assert [row.id for row in store_of(shop.app).servers.live()] == [server.id]
    lost = said(caplog, "Trying again until it works")
    assert len(lost) <= 8, "each part says once that it lost its connection"


def test_server_survives_the_end_of_all_its_connections(
    apps: Applications, postgres: Server, postgres_url: str
) -> None:
    shop = Worked(apps, postgres_url)
    apps.start(shop.app)
    database = make_url(postgres_url).database
    jobs = []

    for _ in range(5):
        jobs += [job for _ in range(20) if (job := shop.enqueue(0.01)) is not None]
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database]
        )
    wait_for(lambda: shop.enqueue() is not None)

    done = wait_for_all(shop.app, jobs, timeout=20)
    assert {job.state for job in done} == {JobState.SUCCEEDED}
    assert {id: count for id, count in shop.runs.items() if count > 1} == {}


def test_console_that_could_not_be_written_comes_later(
    apps: Applications, private_postgres: Cluster
) -> None:
    scheduler = Scheduler()
    half, go_on = threading.Event(), threading.Event()

    @scheduler.task("talk")
    def talk(context: JobContext) -> None:
        context.write_line("before")
        half.set()
        go_on.wait(20)
        context.write_line("while it was down")

    app = apps.make(scheduler, private_postgres.create_database())
    apps.start(app)
    job = talk.enqueue()
    assert half.wait(10)
    wait_for(lambda: lines_of(app, job) == ["before"])

    private_postgres.stop()
    go_on.set()
    wait_for(lambda: not binding_of(app).server or _idle(app))
    private_postgres.start()

    done = wait_for_job(app, job, timeout=20)
    assert done.state is JobState.SUCCEEDED
    assert lines_of(app, job) == ["before", "while it was down"]


def _idle(app: Flask) -> bool:
    server = binding_of(app).server
    return server is not None and not server._components.buffer.busy


def test_recurring_job_goes_on_after_a_restart(
    apps: Applications, private_postgres: Cluster
) -> None:
    scheduler = Scheduler()
    dues: list[object] = []

    @scheduler.recurring("tick", "* * * * * *")
    def tick(context: JobContext) -> None:
        dues.append(context.due)

    app = apps.make(scheduler, private_postgres.create_database())
    apps.start(app)
    wait_for(lambda: dues)

    private_postgres.restart()

    count = len(dues)
    wait_for(lambda: len(dues) >= count + 3, timeout=15)
    assert len(dues) == len(set(dues))


# -- held by somebody else


@contextmanager
def held(url: str) -> Iterator[None]:
    """A SQLite file in which another program is writing, and doesn't come to an end."""
    connection = sqlite3.connect(make_url(url).database or "", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_sqlite_file_that_is_held_is_waited_for(
    apps: Applications, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Its statements give up soon here, as they would after half a minute.
    shop = Worked(apps, sqlite_url, statement_timeout=0.3)
    apps.start(shop.app)
    job = shop.work.enqueue(0.3)
    wait_for_job(shop.app, job, JobState.PROCESSING)

    with held(sqlite_url):
        wait_for(lambda: _idle(shop.app))
        # The run is over, and its end can't be written yet; pages are read all the same.
        assert job_of(shop.app, job).state is JobState.PROCESSING
        wait_for(lambda: said(caplog, "Writing how jobs ended: "))

    assert wait_for_job(shop.app, job).result == "done"
    assert wait_for_job(shop.app, shop.work.enqueue()).result == "done"
    assert shop.runs[job.id] == 1


def test_definitions_that_cant_be_written_yet_are_written_later(
    apps: Applications, private_postgres: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Worked(apps, private_postgres.create_database())
    apps.start(shop.app)
    private_postgres.stop()

    shop.scheduler.recurring("late", "* * * * * *")(shop.work)
    wait_for(lambda: said(caplog, "Writing recurring jobs"))
    private_postgres.start()

    wait_for(lambda: sum(shop.runs.values()) > 0, timeout=15)
    assert [job.id for job in shop.scheduler.list_recurring()] == ["late"]


@pytest.mark.parametrize("busy", [False, True], ids=["quiet machine", "busy machine"])
def test_job_that_is_committed_late_is_found_soon_after_a_claim_that_had_to_wait(
    apps: Applications, postgres_url: str, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    scheduler = Scheduler()

    @scheduler.task("work")
    def work() -> None: ...

    app = apps.make(scheduler, postgres_url)
    driver = store_of(app).database.driver
    claim = driver.claim

    def slow_claim(*given: Any, **options: Any) -> list[Claimed]:
        time.sleep(0.01)
        return claim(*given, **options)

    if busy:
        monkeypatch.setattr(driver, "claim", slow_claim)
    apps.start(app)
    engine = sa.create_engine(postgres_url)
    with app.app_context():
        work.schedule(timedelta(hours=1))  # so that there is something in the lane all the time
        wait_for_job(app, work.enqueue())  # by now the connection of the claims is open
        with engine.connect() as operator, Session(engine) as session:
            # Until the next look is one at everything, also on a machine where that seems slow.
            operator.exec_driver_sql("SELECT pg_sleep(1.2)")
            operator.exec_driver_sql(STANDS_STILL)
            operator.commit()
            late = work.options(session=session).enqueue()
            first = work.enqueue()

            def waits() -> bool:
                asked = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                return bool(operator.exec_driver_sql(asked).all())

            wait_for(waits, message="a claim that waits")
            # Long enough for it to seem to walk over very much.
            operator.exec_driver_sql("SELECT pg_sleep(1.5)")
            operator.exec_driver_sql("SELECT pg_advisory_unlock(4711)")
            wait_for_job(app, first)
            session.commit()
            assert wait_for_job(app, late, timeout=5).state is JobState.SUCCEEDED
    engine.dispose()


# -- what is no outage


def test_dropped_tables_are_told_and_the_server_goes_on_with_new_ones(
    apps: Applications, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Worked(apps, database_url, dashboard_authorization=[AllowAll()])
    shop.scheduler.recurring("nightly", "0 0 1 1 *")(shop.work)
    apps.start(shop.app)
    database = store_of(shop.app).database
    with database.begin() as connection:
        for table in database.tables.metadata.tables.values():
            connection.execute(sa.schema.DropTable(table))

    lost = wait_for(lambda: said(caplog, "'flask recurring init-db' makes what is missing"))
    assert "can't be reached" not in lost[0]
    assert all(record.exc_info for record in caplog.records if record.getMessage() in lost), (
        "with a traceback, since it is no outage"
    )
    page = shop.app.test_client().get("/hangfire/")
    assert page.status_code == 503
    assert "flask recurring init-db" in page.text
    with pytest.raises(StoreUnusable, match="flask recurring init-db"):
        shop.work.enqueue()

    # By somebody at a terminal, in a process of its own.
    other = Worked(apps, database_url)
    other.scheduler.recurring("nightly", "0 0 1 1 *")(other.work)
    done = other.app.test_cli_runner().invoke(args=["recurring", "init-db"])
    assert done.exit_code == 0, done.output

    assert wait_for_job(shop.app, shop.work.enqueue()).result == "done"
    with shop.app.app_context():
        assert shop.scheduler.get_recurring("nightly") is not None
    assert shop.app.test_client().get("/hangfire/").status_code == 200


def test_fault_of_the_program_is_not_told_as_an_outage(
    apps: Applications,
    sqlite_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask_wrongly(jobs: Any) -> None:
        with jobs._database.connect() as connection:
            connection.exec_driver_sql("SELECT (")

    shop = Worked(apps, sqlite_url, dashboard_authorization=[AllowAll()])
    monkeypatch.setattr(type(store_of(shop.app).jobs), "counts", ask_wrongly)
    answer = shop.app.test_client().get("/hangfire/")
    assert answer.status_code == 500
    assert "database" not in answer.text
    assert [record for record in caplog.records if record.exc_info], "an error tracker sees it"
