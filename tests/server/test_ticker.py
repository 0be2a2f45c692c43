"""Recurring jobs tick: in time, once, and as their row says at that moment."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_recurring import Job, JobContext, JobState, Scheduler
from flask_recurring._server.clock import Clock
from flask_recurring._server.periodic_loop import PeriodicLoop
from flask_recurring._server.ticker import Ticker
from tests.applications import Applications, store_of, wait_for_all, wait_for_job
from tests.store.samples import ticks_of
from tests.waiting import wait_for

EVERY_SECOND = "* * * * * *"


def jobs_of(app: Flask, recurring_id: str) -> list[Job]:
    """All jobs of a recurring job, in the order of their ticks."""
    items = store_of(app).jobs.page(None, recurring_id=recurring_id, limit=1000).items
    return sorted(items, key=lambda job: job.due or job.created_at)


def set_next(app: Flask, id: str, at: datetime) -> None:
    """Move a recurring job's next tick, as if the time between had passed without a server."""
    database = store_of(app).database
    row = database.tables.recurring_job
    with database.connect() as connection:
        connection.execute(sa.update(row).where(row.c.id == id).values(next_at=at))


def test_every_second_is_a_tick_in_time(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    dues: list[datetime | None] = []

    @scheduler.recurring("tick", EVERY_SECOND)
    def tick(context: JobContext) -> None:
        dues.append(context.due)

    app = apps.make(scheduler, database_url)
    apps.start(app)
    wait_for(lambda: len(dues) >= 3)

    ticks = [due for due in dues if due is not None]
    assert ticks == [ticks[0] + timedelta(seconds=number) for number in range(len(ticks))]
    for job in jobs_of(app, "tick")[:2]:
        assert job.due is not None
        assert timedelta(0) <= job.created_at - job.due < timedelta(seconds=2)
        assert job.started_at is not None
        assert job.started_at - job.due < timedelta(seconds=2)
    history = ticks_of(store_of(app), "tick")
    assert {entry.outcome for entry in history} == {"run"}
    assert len({entry.due for entry in history}) == len(history)


def test_many_jobs_of_one_second_all_tick_once(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    ran: Counter[tuple[str | None, datetime | None]] = Counter()

    @scheduler.task("work")
    def work(context: JobContext) -> None:
        ran[context.recurring_id, context.due] += 1

    for number in range(300):
        scheduler.recurring(f"job {number}", EVERY_SECOND)(work)
    made = [apps.make(scheduler, database_url, name=name) for name in ("first", "second")]
    for app in made:
        apps.start(app)

    wait_for(lambda: len(ran) >= 600, timeout=20, message=lambda: f"600 of {len(ran)}")
    assert set(ran.values()) == {1}
    whole = Counter(due for _, due in ran)
    assert sum(count == 300 for count in whole.values()) >= 1, whole


def test_what_was_missed_runs_once_for_its_last_due_time(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()

    @scheduler.recurring("hourly", "0 * * * *")
    def hourly() -> None: ...

    app = apps.make(scheduler, database_url)
    with app.app_context():
        assert len(scheduler.list_recurring()) == 1
    now = datetime.now(UTC)
    last_hour = now.replace(minute=0, second=0, microsecond=0)
    set_next(app, "hourly", last_hour - timedelta(days=40))
    apps.start(app)

    wait_for(lambda: jobs_of(app, "hourly"))
    found = scheduler.get_recurring("hourly")
    assert found is not None
    assert found.next_at is not None
    (job,) = jobs_of(app, "hourly")
    assert job.due == found.last_due == last_hour
    assert found.next_at == last_hour + timedelta(hours=1)


def test_tick_that_fell_due_during_a_deployment_still_comes(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()

    @scheduler.recurring("minutely", "* * * * *")
    def minutely() -> None: ...

    app = apps.make(scheduler, database_url)
    scheduler.list_recurring()
    due = datetime.now(UTC).replace(second=0, microsecond=0)
    set_next(app, "minutely", due)

    # The new process declares the same again, which must not move the tick on.
    again = Scheduler()
    again.recurring("minutely", "* * * * *", name=minutely.name)(minutely.function)
    other = apps.make(again, database_url, name="again")
    apps.start(other)

    wait_for(lambda: jobs_of(app, "minutely"))
    assert jobs_of(app, "minutely")[0].due == due


def test_schedule_that_changes_while_the_server_sleeps(
    apps: Applications, postgres_url: str
) -> None:
    scheduler = Scheduler()
    task = scheduler.task("work")(lambda: None)
    app = apps.make(scheduler, postgres_url)
    scheduler.add_or_update("job", task, "0 0 1 1 *")
    apps.start(app)

    scheduler.add_or_update("job", task, EVERY_SECOND)
    wait_for(lambda: jobs_of(app, "job"), timeout=4)
    scheduler.remove("job")
    wait_for_all(app, jobs_of(app, "job"))
    count = len(jobs_of(app, "job"))

    # A job that is due later than the next tick would have been shows that there was none.
    wait_for_job(app, task.schedule(timedelta(seconds=1.2)))
    assert len(jobs_of(app, "job")) == count


def test_paused_job_has_no_ticks_and_makes_up_for_none(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.recurring("job", EVERY_SECOND, name="work")(lambda: None)
    app = apps.make(scheduler, sqlite_url)
    apps.start(app)
    wait_for(lambda: jobs_of(app, "job"))

    scheduler.pause("job")
    wait_for_all(app, jobs_of(app, "job"))
    count = len(jobs_of(app, "job"))
    wait_for_job(app, task.schedule(timedelta(seconds=1.2)))
    assert len(jobs_of(app, "job")) == count

    scheduler.resume("job")
    wait_for(lambda: len(jobs_of(app, "job")) > count, timeout=4)
    newest = jobs_of(app, "job")[-1]
    assert newest.due is not None
    assert newest.created_at - newest.due < timedelta(seconds=2)


def test_options_of_the_schedule_go_with_each_of_its_jobs(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()

    @scheduler.recurring("job", EVERY_SECOND, args=["x"], queue="mail", priority=3, retry=0)
    @scheduler.task("work")
    def work(name: str) -> None:
        raise ValueError(name)

    app = apps.make(scheduler, database_url)
    apps.start(app)

    job = wait_for(lambda: _finished(app, "job"))
    assert job is not None
    assert (job.queue, job.priority, job.args) == ("mail", 3, ("x",))
    assert (job.state, job.attempt) == (JobState.FAILED, 1)


def _finished(app: Flask, id: str) -> Job | None:
    return next((job for job in jobs_of(app, id) if job.state.finished), None)


def test_row_that_this_host_cannot_read_keeps_no_other_from_ticking(
    apps: Applications, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler()
    bad, good = threading.Event(), threading.Event()
    scheduler.recurring("bad", EVERY_SECOND, name="bad")(lambda: bad.set())
    scheduler.recurring("good", EVERY_SECOND, name="good")(lambda: good.set())
    app = apps.make(scheduler, database_url)
    apps.start(app)
    wait_for(bad.is_set)

    database = store_of(app).database
    row = database.tables.recurring_job
    with database.connect() as connection:
        connection.execute(sa.update(row).where(row.c.id == "bad").values(timezone="No/Where"))
    wait_for(lambda: "'bad' can't be ticked by this host" in caplog.text)
    good.clear()
    wait_for(good.is_set)
    with database.connect() as connection:
        connection.execute(sa.update(row).where(row.c.id == "bad").values(timezone="UTC"))
    bad.clear()
    scheduler.binding_of(app).store.recurring.pause("good")  # any change makes it look again
    wait_for(bad.is_set)


def test_tick_in_a_zone_is_due_by_its_clock(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.recurring("noon", "0 12 * * *", timezone="Asia/Kathmandu")
    def noon() -> None: ...

    app = apps.make(scheduler, database_url)
    scheduler.list_recurring()
    due = datetime.now(UTC).replace(hour=6, minute=15, second=0, microsecond=0)
    if due > datetime.now(UTC):
        due -= timedelta(days=1)
    set_next(app, "noon", due - timedelta(days=3))
    apps.start(app)

    wait_for(lambda: jobs_of(app, "noon"))
    found = scheduler.get_recurring("noon")
    assert found is not None
    assert found.last_due == due
    assert found.next_at == due + timedelta(days=1)


def test_long_run_does_not_keep_the_next_tick_from_coming(
    apps: Applications, sqlite_url: str
) -> None:
    scheduler = Scheduler()
    go_on = threading.Event()

    @scheduler.recurring("job", EVERY_SECOND)
    def job() -> None:
        go_on.wait(10)

    app = apps.make(scheduler, sqlite_url)
    apps.start(app)

    wait_for(lambda: len(jobs_of(app, "job")) >= 2, timeout=4)
    go_on.set()


# -- hints


@pytest.mark.parametrize("moment", ["before it looks", "after it looked"])
def test_hint_that_comes_while_the_ticker_looks_is_heeded(
    apps: Applications, sqlite_url: str, moment: str
) -> None:
    app = apps.make(Scheduler(), sqlite_url)
    store = store_of(app)
    looks: list[int] = []
    notified = threading.Event()

    def tasks() -> list[str]:
        looks.append(len(looks))
        if len(looks) == 1 and moment == "before it looks":
            control.hasten(ticker)
        return ["work"]

    class Listening(Clock):
        def set(self, now: datetime, moment_: float) -> None:
            super().set(now, moment_)
            if len(looks) == 1 and moment == "after it looked":
                control.hasten(ticker)
            notified.set()

    ticker = Ticker(store, Listening(), tasks=tasks, notify=None)
    dedicated = store.database.dedicated("control")
    control = PeriodicLoop(dedicated, [ticker])
    thread = threading.Thread(target=control.run)
    thread.start()
    assert notified.wait(5)
    wait_for(lambda: len(looks) == 2, message="a second look")
    control.stop()
    thread.join(5)
    dedicated.close()

    assert looks == [0, 1]
