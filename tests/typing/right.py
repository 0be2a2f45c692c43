"""An application's code, as its author would write it. Nothing here may be complained about."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type
from zoneinfo import ZoneInfo

from flask import Flask, Request
from flask_sqlalchemy import SQLAlchemy

from flask_recurring import (
    Access,
    BoundTask,
    Call,
    Job,
    JobContext,
    JobState,
    Overlap,
    RecurringJob,
    RetryPolicy,
    Scheduler,
    Task,
    current_job,
)

db = SQLAlchemy()
scheduler = Scheduler()


@scheduler.task()
def plain(number: int, name: str = "") -> float:
    return number / len(name)


@scheduler.task("mail.send", queue="mail", priority=-1, retry=RetryPolicy(attempts=3), timeout=60)
def with_context(context: JobContext, number: int, *, urgent: bool = False) -> str:
    context.write_line("Job", context.job_id, color="green")
    for page in context.track(range(number), name="pages"):
        assert_type(page, int)
    context.progress_bar("bar").set(50.0)
    context.wait(1.5)
    if context.poll(1.5) or context.cancelled:
        context.raise_if_cancelled()
    return context.task


@scheduler.recurring("nightly", "0 3 * * *", timezone="Europe/Berlin", kwargs={"number": 1})
@scheduler.recurring("dawn", "0 5 * * *", timezone=ZoneInfo("Europe/Berlin"), args=[1])
@scheduler.recurring("hourly", "@hourly", args=[2], retry=[1, timedelta(minutes=1)])
@scheduler.task(timeout=timedelta(minutes=5))
def stacked(context: JobContext, number: int) -> None:
    assert_type(context.due, datetime | None)


@scheduler.recurring("every five seconds", "*/5 * * * * *")
async def coroutine(context: JobContext) -> int:
    return current_job.attempt


@scheduler.authorization
def may(request: Request) -> Access:
    return Access.READ


def types() -> None:
    assert_type(plain(1, "a"), float)
    assert_type(with_context(5, urgent=True), str)
    started: Coroutine[Any, Any, int] = coroutine()
    started.close()
    assert_type(stacked(3), None)


def client() -> None:
    job = plain.enqueue(1, name="a")
    assert_type(job, Job)
    assert_type(job.state, JobState)
    assert_type(job.args, tuple[Any, ...])
    with_context.enqueue(1)
    with_context.enqueue(number=1, urgent=True)
    stacked.enqueue(1)
    coroutine.enqueue()
    with_context.schedule(timedelta(hours=1), 1, urgent=True)
    with_context.schedule(datetime.now(UTC), number=1)
    bound = plain.options(queue="slow", priority=3, session=db.session, key="one", retry=False)
    assert_type(plain.options(key="two", key_kept=True).enqueue(1).new, bool)
    bound.enqueue(1)
    bound.schedule(timedelta(1), 1, name="b")
    plain.options(session=db.session()).enqueue(2)
    scheduler.enqueue(plain, 1, name="a")
    scheduler.enqueue("mail.send", 1)

    def calls() -> Iterator[Call]:
        yield plain.call(1)
        yield with_context.options(queue="slow").call(1, urgent=True)

    assert_type(scheduler.enqueue_many(calls()), list[int])
    assert_type(scheduler.enqueue_many([plain.call(1)], session=db.session), list[int])
    assert_type(scheduler.get_job(1), Job | None)
    assert_type(scheduler.requeue(1), bool)
    assert_type(scheduler.delete(1), bool)
    assert_type(scheduler.purge(timedelta(days=1), states=[JobState.FAILED]), int)
    scheduler.add_or_update("daily", plain, "@daily", args=[1], queue="slow")
    scheduler.add_or_update("daily", "mail.send", "@daily", kwargs={"number": 1})
    scheduler.add_or_update(
        "daily", plain, "@daily", args=[1], misfire="latest", overlap=Overlap.QUEUE
    )
    scheduler.override("daily", timezone=ZoneInfo("Asia/Tokyo"), misfire="strict", overlap="skip")
    assert_type(scheduler.trigger("daily"), Job)
    scheduler.pause("daily")
    scheduler.resume("daily")
    scheduler.remove("daily")
    assert_type(scheduler.get_recurring("daily"), RecurringJob | None)
    assert_type(scheduler.list_recurring(), list[RecurringJob])


def a_helper(task: Task[[int], None], bound: BoundTask[[int], None]) -> None:
    task.enqueue(1)
    bound.enqueue(1)
    a_helper(stacked, stacked.options(queue="slow"))


def create_app() -> Flask:
    app = Flask(__name__)
    db.init_app(app)
    scheduler.init_app(app, db)
    Scheduler(app)
    Scheduler(app, db, connection_factory=lambda: None)
    return app
