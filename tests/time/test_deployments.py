"""Deployments as servers live through them: versions side by side, and code that goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from flask_recurring import ConfigurationError, JobContext, RecurringJob, Scheduler
from tests.applications import Applications, binding_of, store_of
from tests.store.samples import change, ticks_of
from tests.waiting import wait_for

YEARLY = "0 0 1 1 *"
DAILY = "0 0 * * *"
EVERY_SECOND = "* * * * * *"


def code(*crons: tuple[str, str]) -> Scheduler:
    """A version of an application's code: recurring jobs by id and cron, all of one task."""
    scheduler = Scheduler()

    @scheduler.task("work")
    def work(context: JobContext) -> None: ...

    for id, cron in crons:
        scheduler.recurring(id, cron)(work)
    return scheduler


def found(app: Flask, id: str) -> RecurringJob:
    job = store_of(app).recurring.get(id)
    assert job is not None
    return job


def stop(app: Flask) -> None:
    binding_of(app).stop_server()


def test_old_servers_that_start_again_leave_the_new_definition_until_it_is_taken_back(
    apps: Applications, database_url: str
) -> None:
    old = apps.make(code(("job", YEARLY)), database_url)
    new = apps.make(code(("job", DAILY)), database_url)
    apps.start(old)
    apps.start(new)
    stop(old)
    apps.start(old)
    assert found(new, "job").cron == DAILY
    stop(new)
    wait_for(lambda: found(old, "job").cron == YEARLY)


def test_what_the_code_of_all_servers_has_lost_stops_and_comes_back_with_it(
    apps: Applications, database_url: str
) -> None:
    old = apps.make(code(("gone", EVERY_SECOND), ("stays", EVERY_SECOND)), database_url)
    new = apps.make(code(("stays", EVERY_SECOND)), database_url)
    apps.start(old)
    apps.start(new)
    wait_for(lambda: found(new, "gone").last_due)
    assert found(new, "gone").orphaned_at is None, "a live server declares it"
    stop(old)
    wait_for(lambda: found(new, "gone").orphaned_at)
    orphan = found(new, "gone")
    assert orphan.next_at is None
    assert found(new, "stays").orphaned_at is None
    assert ticks_of(store_of(new), "gone"), "its history stays"
    apps.start(old)
    wait_for(lambda: (found(new, "gone").last_due or 0) != orphan.last_due)
    assert found(new, "gone").orphaned_at is None


def test_a_function_that_is_gone_with_its_definition(apps: Applications, database_url: str) -> None:
    old = apps.make(code(("job", YEARLY)), database_url)
    apps.start(old)
    stop(old)
    new = apps.make(Scheduler(), database_url)
    apps.start(new)
    wait_for(lambda: found(new, "job").orphaned_at)


def test_those_of_another_application_are_left_alone(apps: Applications, database_url: str) -> None:
    shop = apps.make(code(("job", YEARLY)), database_url, name="shop")
    apps.start(shop)
    stop(shop)
    blog = Scheduler()

    @blog.recurring("post", EVERY_SECOND)
    def post() -> None: ...

    other = apps.make(blog, database_url, name="blog")
    apps.start(other)
    # It has looked, and has ticked for some beats since.
    wait_for(lambda: len(ticks_of(store_of(other), "post")) >= 3)
    assert found(other, "job").orphaned_at is None


def test_one_marked_by_mistake_is_taken_back_by_a_server_that_declares_it(
    apps: Applications, database_url: str
) -> None:
    app = apps.make(code(("job", YEARLY)), database_url)
    apps.start(app)
    store = store_of(app)
    next_at = found(app, "job").next_at
    # As another server would have done while this one was taken for dead.
    row = store.database.tables.recurring_job
    change(store, row, orphaned_at=store.now(), held_at=next_at, next_at=None)
    wait_for(lambda: found(app, "job").orphaned_at is None)
    assert found(app, "job").next_at == next_at


def test_zones_of_jobs_made_at_run_time_are_rechecked_at_the_start(
    apps: Applications, database_url: str
) -> None:
    scheduler = code()
    app = apps.make(scheduler, database_url)
    scheduler.add_or_update("job", "work", DAILY, timezone="Asia/Tokyo")
    right = found(app, "job").next_at
    assert right is not None
    store = store_of(app)
    change(store, store.database.tables.recurring_job, next_at=right.replace(minute=30))
    apps.start(app)
    wait_for(lambda: found(app, "job").next_at == right)


# -- the scheduler's own calls


def test_override_and_reset(apps: Applications, database_url: str) -> None:
    scheduler = code(("job", YEARLY))
    app = apps.make(scheduler, database_url)
    scheduler.override("job", cron=DAILY, jitter=5, retry=0, overlap="skip", keep=None, actor="Ann")
    job = found(app, "job")
    assert (job.cron, job.declared["cron"]) == (DAILY, YEARLY)
    assert job.overrides == {
        "cron": DAILY,
        "jitter": 5.0,
        "retry": '{"attempts":0,"delays":null}',
        "overlap": "skip",
        "keep": None,
    }
    scheduler.reset("job", ["every", "keep"])
    assert found(app, "job").cron == YEARLY
    scheduler.override("job", paused=True)
    assert found(app, "job").paused
    scheduler.reset("job")
    assert (found(app, "job").overrides, found(app, "job").paused) == ({}, False)
    assert {entry.actor for entry in store_of(app).audit.newest()} == {"Ann", "the application"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cron": "61 * * * *"}, "the field Minutes is wrong"),
        ({"cron": "0 0 30 2 *"}, "never fires"),
        ({"cron": None}, "give a cron expression"),
        ({"cron": DAILY, "every": None}, "cron or every, not both"),
        ({"every": 5}, "every must be a timedelta"),
        ({"timezone": "Mars"}, "timezone 'Mars' is not known"),
        ({"start": "tomorrow"}, "start must be an aware datetime"),
        ({"queue": "A B"}, "queue 'A B' is not a queue's name"),
        ({"priority": "high"}, "priority is a whole number"),
        ({"timeout": -1}, "timeout must be longer than nothing"),
        ({"retry": "often"}, "retry can't be 'often'"),
        ({"overlap": "wait"}, "overlap must be one of"),
        ({"jitter": -1}, "jitter must be from 0 seconds"),
        ({"keep": 0}, "keep must be a whole number"),
        ({"paused": "yes"}, "paused must be True or False"),
        ({"task": "other"}, "'task' can't be overridden; right are .*cron, every"),
    ],
    ids=repr,
)
def test_wrong_overrides_are_refused(
    apps: Applications, sqlite_url: str, given: dict[str, object], message: str
) -> None:
    scheduler = code(("job", YEARLY))
    app = apps.make(scheduler, sqlite_url)
    scheduler.list_recurring()
    with pytest.raises(ConfigurationError, match=message):
        scheduler.override("job", **given)  # type: ignore[arg-type]
    assert found(app, "job").overrides == {}


@pytest.mark.parametrize("options", ["cron", ["colour"]])
def test_wrong_resets_are_refused(
    apps: Applications, sqlite_url: str, options: list[str] | str
) -> None:
    scheduler = code(("job", YEARLY))
    apps.make(scheduler, sqlite_url)
    with pytest.raises(ConfigurationError, match=r"reset takes a list|'colour' can't"):
        scheduler.reset("job", options)


def test_every_and_bounds_and_policies_in_decorator_and_call(
    apps: Applications, sqlite_url: str
) -> None:
    scheduler = code()
    task = scheduler.tasks["work"]
    start = datetime(2031, 1, 1, tzinfo=UTC)
    scheduler.recurring("a", every=timedelta(minutes=5), start=start, misfire="strict")(task)
    app = apps.make(scheduler, sqlite_url)
    scheduler.add_or_update("b", task, every=timedelta(minutes=5), start=start, misfire="all")
    scheduler.add_or_update("c", task, "0 0 30 2 *", allow_never=True)
    store_of(app)
    a, b, c = scheduler.list_recurring()
    assert (a.cron, a.start, a.misfire, a.next_at) == (b.cron, b.start, b.misfire, b.next_at)
    assert a.next_at == start
    assert c.next_at is None
    for wrong, message in [
        ({}, "a cron expression or every="),
        ({"cron": DAILY, "jitter": timedelta(seconds=-1)}, "jitter must be from 0 seconds"),
        ({"cron": DAILY, "start": start, "end": start - timedelta(1)}, "end must not be before"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            scheduler.add_or_update("d", task, **wrong)  # type: ignore[call-overload]
        with pytest.raises(ConfigurationError, match=message):
            scheduler.recurring("d", **wrong)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="jiter"):
        scheduler.recurring("d", DAILY, jiter=5)  # type: ignore[call-overload]
