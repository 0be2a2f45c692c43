"""What a database refuses for good: it costs one value of one job."""

from __future__ import annotations

import logging
import threading

import pytest
import sqlalchemy as sa

from flask_recurring import JobContext, JobState, Scheduler
from flask_recurring._store import Store
from tests.applications import (
    Applications,
    job_of,
    lines_of,
    store_of,
    wait_for_all,
    wait_for_job,
)
from tests.waiting import wait_for

POISON = "poison"


def refuse(store: Store, table: sa.Table, column: str) -> None:
    """Let the database refuse what has the poison in this column, as it refuses text that it can't
    hold, or what a constraint of an operator's forbids."""
    name = store.database.tables.name(table.name.removeprefix(store.database.tables.prefix))
    condition = f"{column} LIKE '%{POISON}%'"
    with store.database.connect() as connection:
        if store.database.driver.name == "postgresql":
            connection.exec_driver_sql(
                f"ALTER TABLE {name} ADD CHECK ({condition.replace('%', '%%')} IS NOT TRUE)"
            )
            return
        for event in ("INSERT", "UPDATE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER refuse_{table.name}_{event} BEFORE {event} ON {name}"
                f" WHEN NEW.{condition} BEGIN SELECT RAISE(ABORT, 'not here'); END"
            )


def test_neighbours_of_what_is_refused_are_written(
    apps: Applications, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler()
    together = threading.Event()

    @scheduler.task("answer", retry=0)
    def answer(context: JobContext, number: int, text: str, fails: bool) -> str:
        together.wait(10)
        context.write_line(f"line {number}")
        if fails:
            raise ValueError(text)
        return text

    @scheduler.task("talk")
    def talk(context: JobContext, *lines: str) -> None:
        for line in lines:
            context.write_line(line)

    app = apps.make(scheduler, database_url, workers=20)
    store = store_of(app)
    tables = store.database.tables
    refuse(store, tables.job, "result")
    refuse(store, tables.attempt, "message")
    refuse(store, tables.console, "text")
    apps.start(app)
    with app.app_context():
        good = [answer.enqueue(n, f"good {n}", fails=n % 2 == 0) for n in range(16)]
        returns = answer.enqueue(16, POISON, fails=False)
        fails = answer.enqueue(17, POISON, fails=True)
        talks = talk.enqueue(POISON)
        together.set()
        done = wait_for_all(app, good)
        for number, job in enumerate(done):
            assert job.state is (JobState.SUCCEEDED if number % 2 else JobState.FAILED)
            assert job.result == (f"good {number}" if number % 2 else None)
            assert lines_of(app, job)[0] == f"line {number}"

        returned = wait_for_job(app, returns)
        assert (returned.state, returned.result) == (JobState.SUCCEEDED, None)
        first, last = lines_of(app, returns)
        assert first == "line 16"
        assert last.startswith("The result was not kept: the job database refused a value: ")

        assert wait_for_job(app, fails).state is JobState.FAILED
        (attempt,) = store.jobs.attempts(fails.id)
        assert attempt.error_type == "ValueError"
        assert attempt.message is not None
        assert attempt.message.startswith("(not kept: the job database refused a value: ")
        assert job_of(app, fails).error == f"ValueError: {attempt.message}"

        assert wait_for_job(app, talks).state is JobState.SUCCEEDED
        (line,) = lines_of(app, talks)
        assert line.startswith("(not kept: the job database refused a value: ")
    given_up = [r for r in caplog.records if "kept: the job database" in r.getMessage()]
    assert {record.levelno for record in given_up} == {logging.ERROR}
    # The log line of the failure may stand in a row of the console of its own.
    assert len(given_up) in (3, 4)
    assert not any("another server" in record.getMessage() for record in caplog.records)


def test_count_that_can_never_be_written_does_not_hold_up_others(
    apps: Applications, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler()

    @scheduler.task("work")
    def work(context: JobContext, name: str) -> None:
        return

    app = apps.make(scheduler, database_url)
    store = store_of(app)
    refuse(store, store.database.tables.statistics, "task")

    @scheduler.task(POISON)
    def poison(context: JobContext) -> None:
        return

    apps.start(app)
    with app.app_context():
        wait_for_job(app, poison.enqueue())
        wait_for(lambda: "counts of poison" in caplog.text)
        job = work.enqueue("x")
        assert wait_for_job(app, job).state is JobState.SUCCEEDED
        wait_for(lambda: sum(one.succeeded for one in store.statistics.series()))
