"""What a run has around it: its context, and the application's."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, current_app, g
from flask_sqlalchemy import SQLAlchemy

from flask_recurring import JobCancelled, JobContext, JobState, Scheduler, current_job
from flask_recurring._run.console import Console
from tests.applications import (
    Applications,
    binding_of,
    job_of,
    lines_of,
    store_of,
    wait_for_all,
    wait_for_job,
)
from tests.sheet import Sheet
from tests.waiting import wait_for


def make_context(sheet: Sheet) -> JobContext:
    console = Console(sheet, 7, 2, max_lines=100, max_bytes=10_000)
    return JobContext(job_id=7, task="work", attempt=2, queue="mail", console=console)


# -- writing


def test_write_line_puts_values_together_like_print() -> None:
    sheet = Sheet()
    context = make_context(sheet)

    context.write_line("a", 1, None, ["b"])
    context.write_line()
    context.write_line("red", color="red")

    assert sheet.lines == ["a 1 None ['b']", "", "red"]
    assert [(entry.seq, entry.color) for entry in sheet.entries] == [
        (1, None),
        (2, None),
        (3, "red"),
    ]
    assert {(entry.job_id, entry.claim) for entry in sheet.entries} == {(7, 2)}


@pytest.mark.parametrize("call", ["write_line", "progress_bar"])
def test_unknown_colour_is_refused_with_those_that_there_are(call: str) -> None:
    context = make_context(Sheet())

    with pytest.raises(ValueError, match="'pink' is no console colour; there are black, blue"):
        getattr(context, call)("x", color="pink")


def test_progress_bar_moves_between_0_and_100() -> None:
    sheet = Sheet()
    bar = make_context(sheet).progress_bar("pages", 10, color="blue")

    bar.set(50)
    bar.set(50.05)
    bar.set(100)
    for wrong in (-1, 100.1, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 100"):
            bar.set(wrong)

    assert sheet.values == [10, 50, 100], "a move that nobody would see is not written"
    assert bar.value == 100
    assert {(entry.seq, entry.text, entry.color) for entry in sheet.entries} == {
        (1, "pages", "blue")
    }


@pytest.mark.parametrize(
    ("items", "total", "values"),
    [
        ([1, 2, 3, 4], None, [0, 25, 50, 75, 100]),
        (range(2), None, [0, 50, 100]),
        ([], None, [0, 100]),
        (iter([1, 2]), None, [0, 100]),
        (iter([1, 2]), 4, [0, 25, 100]),
        (iter([1, 2, 3]), 2, [0, 50, 100]),
    ],
)
def test_track_moves_a_bar_along(items: Any, total: int | None, values: list[float]) -> None:
    sheet = Sheet()
    expected = list(items) if isinstance(items, (list, range)) else None

    got = list(make_context(sheet).track(items, "things", total))

    assert expected is None or got == expected
    assert sheet.values == values


# -- cancellation


def test_context_that_is_not_cancelled() -> None:
    context = make_context(Sheet())

    context.raise_if_cancelled()

    assert not context.cancelled
    assert context.cancel_reason is None
    assert context.poll(0.001) is False
    before = time.monotonic()
    context.wait(0.05)
    assert time.monotonic() - before >= 0.05


def test_wait_ends_early_on_cancellation() -> None:
    context = make_context(Sheet())
    answers: list[bool | str] = []

    def wait() -> None:
        answers.append(context.poll(60))
        try:
            context.wait(60)
        except JobCancelled as error:
            answers.append(str(error))

    waiter = threading.Thread(target=wait)
    waiter.start()

    context.cancel("enough")
    waiter.join(5)

    assert answers == [True, "enough"]
    for _ in range(3):
        with pytest.raises(JobCancelled, match="enough"), suppress(Exception):
            context.wait(60)
    assert context.poll(60) is True
    assert context.cancelled
    with pytest.raises(JobCancelled, match="enough"):
        context.raise_if_cancelled()


def test_first_reason_for_cancelling_stands() -> None:
    context = make_context(Sheet())

    context.cancel("first")
    context.cancel("second")

    assert context.cancel_reason == "first"


def test_time_limit_asks_a_run_to_stop(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task(timeout=0.2, retry=0)
    def work(context: JobContext) -> None:
        try:
            context.wait(60)
        finally:
            context.write_line(context.cancel_reason)

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = wait_for_job(app, work.enqueue(), timeout=5)

    assert lines_of(app, job)[0] == "the run took longer than its time limit"
    assert job.state is JobState.FAILED
    assert job.error == "JobCancelled: the run took longer than its time limit"


@pytest.mark.parametrize("looks", [True, False])
def test_run_that_returns_after_its_time_limit_has_failed_by_it(
    apps: Applications, database_url: str, looks: bool
) -> None:
    scheduler = Scheduler()

    @scheduler.task(timeout=0.2, retry=[0])
    def work(context: JobContext) -> str:
        if looks:
            context.poll(60)
        else:
            time.sleep(0.25)
        return "what there was"

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = wait_for_job(app, work.enqueue(), timeout=5)

    assert (job.state, job.result, job.attempt) == (JobState.FAILED, None, 2)
    assert job.error == "JobCancelled: the run took longer than its time limit"
    assert [one.outcome for one in store_of(app).jobs.attempts(job.id)] == ["Failed", "Failed"]


def test_time_limit_that_was_not_reached_harms_nobody(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task(timeout=0.2)
    def short() -> str:
        return "done"

    @scheduler.task()
    def long(context: JobContext) -> bool:
        return context.poll(0.5)

    app = apps.make(scheduler, sqlite_url, workers=1)
    apps.start(app)
    first, second = wait_for_all(app, [short.enqueue(), long.enqueue()])

    assert (first.result, second.result) == ("done", False)


def test_time_limit_of_a_call_counts_before_the_tasks(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task(timeout=0.1, retry=0)
    def work(context: JobContext, seconds: float) -> None:
        context.wait(seconds)

    app = apps.make(scheduler, sqlite_url)
    apps.start(app)
    stopped = work.enqueue(60)
    free = work.options(timeout=60).enqueue(0.5)

    states = [job.state for job in wait_for_all(app, [stopped, free])]
    assert states == [JobState.FAILED, JobState.SUCCEEDED]


def test_time_limit_reached_while_others_have_later_ones(
    apps: Applications, sqlite_url: str
) -> None:
    scheduler = Scheduler()

    @scheduler.task(retry=0)
    def work(context: JobContext) -> None:
        context.wait(30)

    app = apps.make(scheduler, sqlite_url)
    apps.start(app)
    later = work.options(timeout=60).enqueue()
    wait_for_job(app, later, JobState.PROCESSING)
    sooner = work.options(timeout=0.3).enqueue()

    assert wait_for_job(app, sooner, timeout=3).state is JobState.FAILED
    assert job_of(app, later).state is JobState.PROCESSING
    scheduler.delete(later.id)
    wait_for_job(app, later)


# -- the application's context


def test_each_run_has_an_application_context_of_its_own(
    apps: Applications, sqlite_url: str
) -> None:
    scheduler = Scheduler()
    torn: list[BaseException | None] = []

    @scheduler.task(retry=0)
    def work(fail: bool = False) -> list[Any]:
        before = g.get("mark")
        g.mark = current_job.job_id
        if fail:
            raise ValueError("no")
        return [before, current_app.name]

    app = apps.make(scheduler, sqlite_url, workers=1)
    app.teardown_appcontext(torn.append)
    apps.start(app)
    jobs = wait_for_all(app, [work.enqueue(), work.enqueue(fail=True), work.enqueue()])

    assert [job.result for job in jobs] == [[None, "shop"], None, [None, "shop"]]
    assert [type(error) for error in torn] == [type(None), ValueError, type(None)]


def test_session_of_one_run_is_not_seen_by_the_next(apps: Applications, database_url: str) -> None:
    scheduler, db = Scheduler(), SQLAlchemy()

    @scheduler.task(retry=0)
    def write(number: int, commit: bool) -> int:
        db.session.execute(sa.text("INSERT INTO orders VALUES (:id)"), {"id": number})
        if commit:
            db.session.commit()
        # What is not committed is gone with the run.
        return id(db.session())

    @scheduler.task(retry=0)
    def read() -> list[int]:
        return list(db.session.scalars(sa.text("SELECT id FROM orders ORDER BY id")))

    app = apps.make(scheduler, db=db, config={"SQLALCHEMY_DATABASE_URI": database_url}, workers=1)
    with app.app_context():
        db.session.execute(sa.text("CREATE TABLE orders (id integer primary key)"))
        db.session.commit()
    apps.start(app)

    for number in (1, 2, 3):
        done = wait_for_job(app, write.enqueue(number, commit=number != 2))
        assert done.state is JobState.SUCCEEDED, done.error

    assert wait_for_job(app, read.enqueue()).result == [1, 3]
    with app.app_context():
        pool = db.engine.pool
    assert isinstance(pool, sa.pool.QueuePool)
    wait_for(lambda: pool.checkedout() == 0, message="the return of all connections")


def test_teardown_that_raises_fails_the_run(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task(retry=0)
    def work() -> str:
        return "done"

    app = apps.make(scheduler, sqlite_url)

    @app.teardown_appcontext
    def teardown(error: BaseException | None) -> None:
        if current_job:
            raise OSError("the pool is gone")

    apps.start(app)
    job = wait_for_job(app, work.enqueue())

    assert (job.state, job.error) == (JobState.FAILED, "OSError: the pool is gone")


def test_job_enqueued_within_a_run_goes_to_the_runs_application(
    apps: Applications, tmp_path: Path
) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def inner() -> str:
        return current_app.name

    @scheduler.task()
    def outer() -> int:
        return inner.enqueue().id

    made: list[Flask] = []
    for name in ("first", "second"):
        app = apps.make(scheduler, f"sqlite:///{tmp_path}/{name}.sqlite3", name=name)
        apps.start(app)
        made.append(app)

    for app in made:
        with app.app_context():
            job = outer.enqueue()
        result = wait_for_job(app, job).result
        assert wait_for_job(app, result).result == app.name
    assert len(store_of(made[0]).jobs.page(None).items) == 2
    assert binding_of(made[0]).server is not binding_of(made[1]).server
