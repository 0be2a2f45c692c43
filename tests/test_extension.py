"""The Scheduler as applications use it: set up, asked, told; every call of its public face."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_recurring import (
    ConfigurationError,
    JobContext,
    JobState,
    Scheduler,
    StoreUnavailable,
    Task,
    UnknownRecurringJobError,
    UnknownTaskError,
)
from flask_recurring._store import Notification
from tests.applications import (
    HAIR,
    Applications,
    binding_of,
    job_of,
    lines_of,
    store_of,
    wait_for_all,
    wait_for_job,
)
from tests.postgres import Server
from tests.store.samples import ticks_of
from tests.waiting import wait_for

EVERY_MINUTE = "* * * * *"
YEARLY = "0 0 1 1 *"


def make_scheduler() -> Scheduler:
    """A scheduler that knows the task ``add``."""
    scheduler = Scheduler()
    scheduler.task("add")(add)
    return scheduler


def add(left: int, right: int = 1) -> int:
    return left + right


def place_of(app: Flask) -> sa.URL:
    """Where the application's jobs are."""
    return binding_of(app).store.database.engine.url


# -- setting up


def test_scheduler_given_an_application_is_set_up_on_it(tmp_path: Path) -> None:
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["RECURRING_WORKER_ENABLED"] = False

    scheduler = Scheduler(app)

    assert app.extensions["recurring"] is scheduler
    assert scheduler.binding.app is app


def test_scheduler_is_unbound_until_init_app(apps: Applications, sqlite_url: str) -> None:
    scheduler = make_scheduler()
    with pytest.raises(ConfigurationError, match=r"call scheduler\.init_app\(app\)"):
        scheduler.enqueue("add", 1)

    app = apps.make(scheduler, sqlite_url)

    assert app.extensions["recurring"] is scheduler
    assert scheduler.enqueue("add", 1).state is JobState.ENQUEUED


def test_init_app_does_not_touch_the_database(apps: Applications) -> None:
    app = apps.make(make_scheduler(), "postgresql://nobody@127.0.0.1:1/nowhere", connect_timeout=1)

    assert app.test_client().get("/").status_code == 404
    with pytest.raises(StoreUnavailable, match="can't be reached"):
        make_and_enqueue(app)


def make_and_enqueue(app: Flask) -> None:
    scheduler: Scheduler = app.extensions["recurring"]
    with app.app_context():
        scheduler.enqueue("add", 1)


def test_second_scheduler_on_an_application_is_refused(apps: Applications, sqlite_url: str) -> None:
    app = apps.make(Scheduler(), sqlite_url)

    with pytest.raises(ConfigurationError, match="a scheduler is set up on 'shop' already"):
        Scheduler().init_app(app)


def test_one_scheduler_on_several_applications(apps: Applications, tmp_path: Path) -> None:
    scheduler = make_scheduler()
    first = apps.make(scheduler, f"sqlite:///{tmp_path}/first.sqlite3", name="first")
    second = apps.make(scheduler, f"sqlite:///{tmp_path}/second.sqlite3", name="second")

    with pytest.raises(ConfigurationError, match=r"several applications.*app\.app_context"):
        scheduler.enqueue("add", 1)
    with first.app_context():
        scheduler.enqueue("add", 1)
        scheduler.add_or_update("sum", "add", YEARLY, args=[1])
    with second.app_context():
        assert scheduler.list_recurring() == []
        assert scheduler.get_job(1) is None
    with first.app_context():
        assert [job.id for job in scheduler.list_recurring()] == ["sum"]
        assert scheduler.get_job(1) is not None


def test_several_schedulers_each_have_their_own_tasks(apps: Applications, tmp_path: Path) -> None:
    first, second = make_scheduler(), Scheduler()
    app = apps.make(first, f"sqlite:///{tmp_path}/first.sqlite3", name="first")
    apps.make(second, f"sqlite:///{tmp_path}/second.sqlite3", name="second")

    assert first.enqueue("add", 1).task == "add"
    with pytest.raises(UnknownTaskError):
        second.enqueue("add", 1)
    with app.app_context(), pytest.raises(ConfigurationError, match="not set up on 'first'"):
        second.list_recurring()


def test_applications_that_are_gone_are_let_go(apps: Applications, sqlite_url: str) -> None:
    scheduler = make_scheduler()
    app = Flask("gone")
    app.testing = True
    scheduler.init_app(app)
    gone = weakref.ref(app)
    del app

    # The task's own thread may hold it for the moment of a look.
    wait_for(lambda: gc.collect() >= 0 and gone() is None, message="the application's end")
    apps.make(scheduler, sqlite_url)
    assert scheduler.enqueue("add", 1).id


def test_settings_may_come_from_the_environment(
    apps: Applications, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHOP_RECURRING_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("SHOP_RECURRING_WORKER_ENABLED", "false")
    monkeypatch.setenv("SHOP_RECURRING_QUEUES", "mail,*")
    app = Flask("shop", instance_path=str(tmp_path))
    app.config.from_prefixed_env("SHOP")

    Scheduler().init_app(app)

    settings = binding_of(app).settings
    assert not settings.worker_enabled
    assert settings.queues == ("mail", "*")
    assert place_of(app) == sa.make_url(sqlite_url)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("workers", 0, "RECURRING_WORKERS can't be 0; it must be a whole number from 1"),
        ("wrokers", 3, "RECURRING_WROKERS is no setting; did you mean RECURRING_WORKERS?"),
        ("queues", "UPPER", "RECURRING_QUEUES can't be 'UPPER'"),
        ("database_url", "mysql://shop", "RECURRING_DATABASE_URL can't be what was given"),
        ("poll_interval", "soon", "RECURRING_POLL_INTERVAL can't be 'soon'"),
    ],
)
def test_wrong_or_unknown_setting_is_refused(
    apps: Applications, setting: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        apps.make(Scheduler(), **{setting: value})

    assert str(caught.value).startswith(message)


# -- which database


def test_database_is_a_file_in_the_instance_folder_when_nothing_is_said(
    apps: Applications, tmp_path: Path
) -> None:
    app = apps.make(make_scheduler())

    make_and_enqueue(app)

    assert (tmp_path / "shop" / "recurring.sqlite3").is_file()


def test_database_is_that_of_flask_sqlalchemy_when_it_is_set_up(
    apps: Applications, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/shop.sqlite3"

    given = apps.make(
        make_scheduler(), db=SQLAlchemy(), config={"SQLALCHEMY_DATABASE_URI": url}, name="given"
    )
    app = Flask("found", instance_path=str(tmp_path))
    app.config.update(SQLALCHEMY_DATABASE_URI=url, RECURRING_WORKER_ENABLED=False)
    SQLAlchemy(app)
    Scheduler(app)

    assert place_of(given).database == f"{tmp_path}/shop.sqlite3"
    assert place_of(app).database == f"{tmp_path}/shop.sqlite3"


def test_flask_sqlalchemy_may_be_set_up_after_the_scheduler(
    apps: Applications, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/shop.sqlite3"
    app = apps.make(make_scheduler(), config={"SQLALCHEMY_DATABASE_URI": url})

    SQLAlchemy(app)

    assert place_of(app).database == f"{tmp_path}/shop.sqlite3"


def test_database_is_the_bind_that_is_named(apps: Applications, tmp_path: Path) -> None:
    app = apps.make(
        make_scheduler(),
        db=SQLAlchemy(),
        config={
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/shop.sqlite3",
            "SQLALCHEMY_BINDS": {"jobs": f"sqlite:///{tmp_path}/jobs.sqlite3"},
        },
        bind_key="jobs",
    )

    assert place_of(app).database == f"{tmp_path}/jobs.sqlite3"


def test_unknown_bind_is_refused_with_those_that_there_are(
    apps: Applications, tmp_path: Path
) -> None:
    app = apps.make(
        make_scheduler(),
        db=SQLAlchemy(),
        config={"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/shop.sqlite3"},
        bind_key="jbos",
    )

    with pytest.raises(ConfigurationError, match=r"BIND_KEY is 'jbos'.*there are None"):
        make_and_enqueue(app)


def test_bind_without_flask_sqlalchemy_is_refused(apps: Applications) -> None:
    app = apps.make(make_scheduler(), bind_key="jobs")

    with pytest.raises(ConfigurationError, match="RECURRING_BIND_KEY is 'jobs', but Flask-SQLA"):
        make_and_enqueue(app)


def test_address_comes_before_flask_sqlalchemy(apps: Applications, tmp_path: Path) -> None:
    app = apps.make(
        make_scheduler(),
        f"sqlite:///{tmp_path}/jobs.sqlite3",
        db=SQLAlchemy(),
        config={
            "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/shop.sqlite3",
            "SQLALCHEMY_BINDS": {"other": f"sqlite:///{tmp_path}/other.sqlite3"},
        },
        bind_key="other",
    )

    assert place_of(app).database == f"{tmp_path}/jobs.sqlite3"


def test_connection_factory_is_called_for_each_new_connection(
    apps: Applications, postgres: Server, postgres_url: str
) -> None:
    passwords = iter(range(1000))
    used: list[int] = []

    def connect() -> psycopg.Connection[Any]:
        used.append(next(passwords))
        return psycopg.connect(postgres.dsn(sa.make_url(postgres_url).database or ""))

    scheduler = Scheduler(connection_factory=connect)
    task = scheduler.task("add")(add)
    app = apps.make(scheduler)
    assert used == []

    apps.start(app)
    assert wait_for_job(app, task.enqueue(1)).result == 2
    before = len(used)
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
        [sa.make_url(postgres_url).database],
    )

    # All of its connections are gone, so each that it makes now asks the factory anew.
    wait_for(lambda: _enqueue_if_possible(lambda: task.enqueue(2)))
    wait_for(lambda: len(used) > before + 2, message="new connections")
    assert used == list(range(len(used)))


def _enqueue_if_possible(enqueue: Callable[[], object]) -> bool:
    try:
        enqueue()
    except StoreUnavailable:
        return False
    return True


def test_connection_factory_and_address_together_are_refused(apps: Applications) -> None:
    with pytest.raises(ConfigurationError, match="can't both be given"):
        apps.make(
            Scheduler(connection_factory=lambda: None), database_url="postgresql://127.0.0.1/shop"
        )


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true"]
)
def test_server_on_a_database_in_memory_is_refused(apps: Applications, url: str) -> None:
    app = apps.make(make_scheduler(), db=SQLAlchemy(), config={"SQLALCHEMY_DATABASE_URI": url})

    with pytest.raises(ConfigurationError, match=r"in-memory SQLite.*WORKER_ENABLED"):
        binding_of(app).start_server()


def test_address_with_a_mode_is_a_file(apps: Applications, tmp_path: Path) -> None:
    task = (scheduler := Scheduler()).task("add")(add)
    uri = f"sqlite:///file:{tmp_path}/jobs.sqlite3?mode=rwc&uri=true"
    app = apps.make(scheduler, db=SQLAlchemy(), config={"SQLALCHEMY_DATABASE_URI": uri})

    apps.start(app)

    assert wait_for_job(app, task.enqueue(1)).result == 2


# -- enqueuing


def test_enqueue_gives_the_job_and_runs_it(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task(queue="sums", priority=3)(add)
    app = apps.make(scheduler, database_url)

    job = task.enqueue(2, right=3)

    assert job == job_of(app, job)
    assert (job.task, job.args, job.kwargs) == (f"{__name__}.add", (2,), {"right": 3})
    assert (job.queue, job.priority, job.attempt) == ("sums", 3, 0)
    assert job.state is JobState.ENQUEUED
    assert [job.recurring_id, job.due, job.result, job.error, job.started_at] == [None] * 5
    assert job.run_at == job.created_at
    assert job.created_at.tzinfo is not None

    apps.start(app)
    done = wait_for_job(app, job)

    assert done.state is JobState.SUCCEEDED
    assert (done.result, done.attempt, done.error) == (5, 1, None)
    assert done.started_at is not None
    assert done.finished_at is not None
    assert done.created_at - HAIR <= done.started_at <= done.finished_at


def test_schedule_after_a_timedelta_and_at_a_datetime(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add")(add)
    app = apps.make(scheduler, database_url)
    apps.start(app)
    at = datetime.now(UTC) + timedelta(hours=1)

    later = task.schedule(timedelta(hours=1), 1)
    exact = task.schedule(at, 2)
    soon = task.schedule(timedelta(seconds=0.3), 3)
    past = task.schedule(datetime.now(UTC) - timedelta(days=1), 4)

    assert later.state is exact.state is soon.state is JobState.SCHEDULED
    assert later.run_at - later.created_at == timedelta(hours=1)
    assert exact.run_at == at
    ran = wait_for_job(app, soon)
    assert ran.started_at is not None
    assert ran.started_at - ran.created_at >= timedelta(seconds=0.3) - HAIR
    assert wait_for_job(app, past).result == 5
    assert job_of(app, later).state is job_of(app, exact).state is JobState.SCHEDULED


def test_options_vary_one_call(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add")(add)
    app = apps.make(scheduler, database_url)

    special = task.options(queue="slow", priority=-5).enqueue(1)
    plain = task.enqueue(1)
    scheduled = task.options(queue="slow").schedule(timedelta(hours=1), 1)

    assert (special.queue, special.priority) == ("slow", -5)
    assert (plain.queue, plain.priority) == ("default", 0)
    assert scheduled.queue == "slow"
    assert scheduled.state is JobState.SCHEDULED
    assert job_of(app, special) == special


def test_options_may_forbid_retries(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def fail() -> None:
        raise ValueError("no")

    app = apps.make(scheduler, database_url)
    apps.start(app)

    once = fail.options(retry=0).enqueue()
    more = fail.enqueue()

    assert wait_for_job(app, once).state is JobState.FAILED
    assert wait_for_job(app, more, JobState.SCHEDULED).attempt == 1


def test_key_names_one_job(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add")(add)
    apps.make(scheduler, database_url)

    first = task.options(key="order 5").enqueue(1)
    again = task.options(key="order 5").enqueue(2)
    other = task.options(key="order 6").enqueue(3)

    assert again.id == first.id
    assert again.args == (1,)
    assert other.id != first.id
    assert (first.new, again.new, other.new) == (True, False, True)

    found = scheduler.get_job(first.id)
    assert found == first
    assert not found.new


def test_key_is_free_when_its_job_is_finished_unless_the_call_says_otherwise(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add")(add)
    apps.make(scheduler, database_url)
    named, once = task.options(key="order 5"), task.options(key="order 5", key_kept=True)

    first = named.enqueue(1)
    scheduler.delete(first.id)

    assert once.schedule(timedelta(hours=1), 2) == scheduler.get_job(first.id)
    assert scheduler.enqueue_many([once.call(3)]) == [first.id]
    second = named.schedule(timedelta(hours=1), 4)
    assert second.new
    assert scheduler.enqueue_many([named.call(5), once.call(6)]) == [second.id, second.id]

    with pytest.raises(ConfigurationError, match=r"key_kept=True says how long .*: give key="):
        task.options(key_kept=True)
    with pytest.raises(ConfigurationError, match=r"^key 5 is no text"):
        task.options(key=5)  # type: ignore[arg-type]


def test_scheduler_enqueues_tasks_and_names(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add")(add)
    apps.make(scheduler, database_url)

    assert scheduler.enqueue(task, 1, right=2).kwargs == {"right": 2}
    assert scheduler.enqueue("add", 1).task == "add"
    with pytest.raises(UnknownTaskError, match="no task is registered as 'ad'; did you mean 'add'"):
        scheduler.enqueue("ad", 1)


def test_parameters_may_have_the_names_of_ours(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def move(task: str, when: str = "", self: str = "") -> None: ...

    apps.make(scheduler, sqlite_url)

    assert scheduler.enqueue(move, task="a", when="b").kwargs == {"task": "a", "when": "b"}
    assert move.schedule(timedelta(1), task="a", when="b").kwargs == {"task": "a", "when": "b"}
    assert move.enqueue(task="a", self="c").kwargs == {"task": "a", "self": "c"}


def test_enqueue_many_streams_and_keeps_the_order(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add")(add)
    app = apps.make(scheduler, database_url)
    special = task.options(queue="slow", priority=2)

    ids = scheduler.enqueue_many(
        (special if number % 2 else task).call(number, right=number) for number in range(6000)
    )

    assert len(set(ids)) == 6000
    last = job_of(app, ids[-1])
    assert (last.args, last.kwargs) == ((5999,), {"right": 5999})
    assert (last.queue, last.priority) == ("slow", 2)
    assert job_of(app, ids[0]).queue == "default"
    assert scheduler.enqueue_many([]) == []


def test_enqueue_many_writes_all_or_none(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add")(add)
    app = apps.make(scheduler, database_url)

    with pytest.raises(TypeError, match="parameter 'left'"):
        scheduler.enqueue_many(
            task.call(number if number < 5500 else "many")  # type: ignore[arg-type]
            for number in range(6000)
        )
    with pytest.raises(ConfigurationError, match=r"calls made by task\.call"):
        scheduler.enqueue_many([task])  # type: ignore[list-item]

    assert store_of(app).jobs.page(None).items == []


def test_enqueue_many_runs_all(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add")(add)
    app = apps.make(scheduler, database_url)
    apps.start(app)

    ids = scheduler.enqueue_many(task.call(number) for number in range(300))

    assert [job.result for job in wait_for_all(app, ids)] == list(range(1, 301))


# -- jobs


def test_get_job_answers_none_for_an_id_that_is_not_there(
    apps: Applications, database_url: str
) -> None:
    scheduler = make_scheduler()
    apps.make(scheduler, database_url)

    for id in (0, 1, -1, 2**63, 10**30):
        assert scheduler.get_job(id) is None
        assert scheduler.requeue(id) is False
        assert scheduler.delete(id) is False


def test_requeue_runs_a_job_once_more(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add")(add)
    app = apps.make(scheduler, database_url)
    job = task.enqueue(1)
    assert scheduler.requeue(job.id) is False, "it waits already"
    apps.start(app)
    first = wait_for_job(app, job)

    assert scheduler.requeue(job.id) is True

    again = wait_for(lambda: _finished_after(app, job.id, first.finished_at))
    assert again.state is JobState.SUCCEEDED
    assert again.attempt == 1
    assert again.claim == 2


def _finished_after(app: Flask, id: int, moment: datetime | None) -> Any:
    job = job_of(app, id)
    assert moment is not None
    return job if job.finished_at is not None and job.finished_at > moment else None


def test_requeue_brings_a_scheduled_job_forward(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add")(add)
    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = task.schedule(timedelta(hours=1), 1)

    assert scheduler.requeue(job.id) is True

    assert wait_for_job(app, job).result == 2


def test_delete_keeps_a_waiting_job_from_running(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add")(add)
    app = apps.make(scheduler, database_url)
    deleted, kept = task.enqueue(1), task.enqueue(2)

    assert scheduler.delete(deleted.id) is True
    assert scheduler.delete(deleted.id) is False

    apps.start(app)
    wait_for_job(app, kept)
    gone = job_of(app, deleted)
    assert gone.state is JobState.DELETED
    assert gone.attempt == 0
    assert gone.finished_at is not None


def test_delete_asks_a_running_job_to_stop(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    seen: list[tuple[bool, bool, str | None]] = []

    @scheduler.task()
    def work(context: JobContext) -> None:
        before = context.cancelled
        context.write_line("begun")
        ended = context.poll(60)
        seen.append((before, ended and context.cancelled, context.cancel_reason))
        context.raise_if_cancelled()

    # A beat is far away: what makes it quick is that the server is told.
    app = apps.make(scheduler, database_url, heartbeat_interval=30)
    apps.start(app)
    job = work.enqueue()
    wait_for(lambda: lines_of(app, job) == ["begun"])

    assert scheduler.delete(job.id) is True

    deleted = wait_for_job(app, job, timeout=5)
    assert seen == [(False, True, "the job was deleted")]
    assert deleted.state is JobState.DELETED
    assert deleted.finished_at is not None
    assert deleted.error is None or "deleted" in deleted.error
    assert [attempt.outcome for attempt in store_of(app).jobs.attempts(job.id)] == ["Cancelled"]


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_deleted_job_may_stop_in_its_own_way(
    apps: Applications, database_url: str, how: str
) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def work(context: JobContext) -> None:
        context.write_line("begun")
        if context.poll(60) and how == "raises":
            raise RuntimeError("I was interrupted")

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = work.enqueue()
    wait_for(lambda: lines_of(app, job) == ["begun"])

    scheduler.delete(job.id)

    assert wait_for_job(app, job).state is JobState.DELETED


def test_purge_deletes_finished_jobs_by_age_and_state(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add")(add)

    @scheduler.task("fail", retry=0)
    def fail() -> None:
        raise ValueError("no")

    app = apps.make(scheduler, database_url)
    apps.start(app)
    done, failed = task.enqueue(1), fail.enqueue()
    waiting = task.schedule(timedelta(hours=1), 1)
    wait_for_all(app, [done, failed])
    deleted = task.schedule(timedelta(hours=1), 1)
    scheduler.delete(deleted.id)

    assert scheduler.purge(timedelta(hours=1)) == 0
    assert scheduler.purge(timedelta(0), JobState.FAILED) == 1
    assert scheduler.get_job(failed.id) is None
    assert store_of(app).jobs.attempts(failed.id) == []
    assert scheduler.purge(timedelta(0), [JobState.DELETED, JobState.FAILED]) == 1
    assert scheduler.purge(timedelta(0)) == 1
    assert [job.id for job in store_of(app).jobs.page(None).items] == [waiting.id]


@pytest.mark.parametrize(
    ("age", "states", "message"),
    [
        (timedelta(-1), JobState.FAILED, "older_than must be a timedelta that is not negative"),
        (5, JobState.FAILED, "older_than must be a timedelta"),
        (timedelta(1), [JobState.ENQUEUED], "only finished jobs can be purged.*Enqueued"),
        (timedelta(1), ["Gone"], "states: 'Gone' is not a valid JobState"),
    ],
)
def test_purge_refuses_what_makes_no_sense(
    apps: Applications, sqlite_url: str, age: Any, states: Any, message: str
) -> None:
    scheduler = make_scheduler()
    apps.make(scheduler, sqlite_url)

    with pytest.raises(ConfigurationError, match=message):
        scheduler.purge(age, states)


def test_paused_queue_gives_nothing(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add", queue="slow")(add)
    app = apps.make(scheduler, database_url)
    scheduler.pause_queue("slow")
    apps.start(app)

    held = task.enqueue(1)
    wait_for_job(app, task.options(queue="default").enqueue(1))
    assert job_of(app, held).state is JobState.ENQUEUED

    scheduler.resume_queue("slow")
    assert wait_for_job(app, held).result == 2


# -- recurring jobs


def test_declared_jobs_are_written_with_all_they_were_given(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()

    @scheduler.recurring(
        "sums",
        "0 30 9 * * MON-FRI",
        args=[1],
        kwargs={"right": 2},
        timezone="Europe/Berlin",
        queue="sums",
        priority=4,
    )
    def work(left: int, right: int) -> None: ...

    apps.make(scheduler, database_url)

    (found,) = scheduler.list_recurring()
    assert found == scheduler.get_recurring("sums")
    assert (found.id, found.task) == ("sums", work.name)
    assert (found.args, found.kwargs) == ((1,), {"right": 2})
    assert (found.cron, found.timezone) == ("0 30 9 * * MON-FRI", "Europe/Berlin")
    assert (found.queue, found.priority, found.paused) == ("sums", 4, False)
    assert found.next_at is not None
    assert found.next_at > found.created_at
    last = [found.last_due, found.last_job_id, found.last_job_state, found.last_job_at]
    assert last == [None] * 4
    assert scheduler.get_recurring("other") is None


def test_several_schedules_on_one_function(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.recurring("late", "0 22 * * *", args=["late"], queue="night")
    @scheduler.recurring("early", "0 6 * * *", args=["early"])
    @scheduler.task("report", queue="reports", priority=2)
    def report(kind: str) -> None: ...

    apps.make(scheduler, database_url)

    early, late = scheduler.list_recurring()
    assert (early.id, early.task, early.args, early.queue) == (
        *("early", "report", ("early",), "reports"),
    )
    assert (late.id, late.task, late.args, late.queue) == ("late", "report", ("late",), "night")
    assert early.priority == late.priority == 2
    assert list(scheduler.tasks) == ["report"]
    assert report.enqueue("now").queue == "reports"


def test_add_or_update_gives_a_schedule_to_a_task_registered_elsewhere(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()
    task = scheduler.task("add", queue="sums")(add)
    app = apps.make(scheduler, database_url)
    apps.start(app)

    scheduler.add_or_update("each second", task, "* * * * * *", args=[1], priority=1)
    scheduler.add_or_update("by name", "add", YEARLY, kwargs={"left": 2})

    ran = wait_for(lambda: _last_done(scheduler, "each second"))
    assert ran is not None
    job = job_of(app, ran)
    assert (job.args, job.queue, job.priority) == ((1,), "sums", 1)
    assert job.recurring_id == "each second"
    assert job.due is not None
    assert job.due.microsecond == 0
    by_name = scheduler.get_recurring("by name")
    assert by_name is not None
    assert by_name.kwargs == {"left": 2}


def _last_done(scheduler: Scheduler, id: str) -> int | None:
    found = scheduler.get_recurring(id)
    if found is None or found.last_job_state is not JobState.SUCCEEDED:
        return None
    return found.last_job_id


def test_add_or_update_writes_only_what_changes(apps: Applications, database_url: str) -> None:
    scheduler = make_scheduler()
    apps.make(scheduler, database_url)
    scheduler.add_or_update("sum", "add", YEARLY, args=[1])
    before = scheduler.get_recurring("sum")
    assert before is not None

    scheduler.add_or_update("sum", "add", YEARLY, args=[1])
    assert scheduler.get_recurring("sum") == before

    scheduler.add_or_update("sum", "add", YEARLY, args=[2])
    args_changed = scheduler.get_recurring("sum")
    assert args_changed is not None
    assert args_changed.args == (2,)
    assert args_changed.next_at == before.next_at
    assert args_changed.updated_at > before.updated_at
    assert args_changed.created_at == before.created_at

    scheduler.add_or_update("sum", "add", EVERY_MINUTE, args=[2])
    cron_changed = scheduler.get_recurring("sum")
    assert cron_changed is not None
    assert cron_changed.next_at is not None
    assert cron_changed.next_at - cron_changed.updated_at <= timedelta(minutes=1)


def test_changed_zone_sets_the_next_tick_anew(apps: Applications, sqlite_url: str) -> None:
    scheduler = make_scheduler()
    apps.make(scheduler, sqlite_url)

    hours = []
    for zone in ("UTC", "Asia/Tokyo"):
        scheduler.add_or_update("sum", "add", "0 12 * * *", args=[1], timezone=zone)
        found = scheduler.get_recurring("sum")
        assert found is not None
        assert found.next_at is not None
        hours.append(found.next_at.astimezone(UTC).hour)

    assert hours == [12, 3]


def test_remove_forgets_a_recurring_job(apps: Applications, database_url: str) -> None:
    scheduler = make_scheduler()
    app = apps.make(scheduler, database_url)
    scheduler.add_or_update("sum", "add", YEARLY, args=[1])
    job = scheduler.trigger("sum")

    scheduler.remove("sum")

    assert scheduler.get_recurring("sum") is None
    assert job_of(app, job).recurring_id == "sum"


def test_trigger_runs_now_and_moves_no_tick(apps: Applications, database_url: str) -> None:
    scheduler = make_scheduler()
    app = apps.make(scheduler, database_url)
    scheduler.add_or_update("sum", "add", YEARLY, args=[1], queue="sums")
    before = scheduler.get_recurring("sum")
    assert before is not None
    apps.start(app)

    job = scheduler.trigger("sum")

    assert (job.task, job.args, job.queue) == ("add", (1,), "sums")
    assert (job.recurring_id, job.due) == ("sum", None)
    assert wait_for_job(app, job).result == 2
    after = scheduler.get_recurring("sum")
    assert after is not None
    assert before.next_at is not None
    assert after.next_at == before.next_at
    assert (after.last_job_id, after.last_job_state) == (job.id, JobState.SUCCEEDED)
    assert after.last_due is None
    assert [tick.outcome for tick in ticks_of(store_of(app), "sum")] == ["triggered"]


def test_trigger_asks_for_nothing_that_may_fail_once_its_job_is_there(
    apps: Applications, database_url: str
) -> None:
    scheduler = make_scheduler()
    app = apps.make(scheduler, database_url)
    scheduler.add_or_update("sum", "add", YEARLY, args=[1], queue="sums")
    assert scheduler.trigger("sum") == scheduler.get_job(1)
    store = store_of(app)

    def forget(hint: Notification) -> None:
        # As if somebody else had deleted and purged it at once.
        with store.database.connect() as connection:
            connection.execute(sa.delete(store.database.tables.job))

    store.subscribe(forget)

    job = scheduler.trigger("sum")

    assert (job.id, job.task, job.args, job.queue) == (2, "add", (1,), "sums")
    assert (job.state, job.attempt, job.recurring_id) == (JobState.ENQUEUED, 0, "sum")
    assert scheduler.get_job(2) is None


def test_pause_and_resume(apps: Applications, database_url: str) -> None:
    scheduler = make_scheduler()
    app = apps.make(scheduler, database_url)
    scheduler.add_or_update("sum", "add", "* * * * * *", args=[1])
    scheduler.pause("sum")
    scheduler.pause("sum")
    apps.start(app)

    paused = scheduler.get_recurring("sum")
    assert paused is not None
    assert paused.paused
    assert paused.next_at is None
    assert wait_for_job(app, scheduler.trigger("sum")).result == 2, "by hand it runs all the same"
    assert paused.last_due is None

    scheduler.resume("sum")
    scheduler.resume("sum")
    wait_for(lambda: _ticked(scheduler, "sum"), timeout=5)


def _ticked(scheduler: Scheduler, id: str) -> bool:
    found = scheduler.get_recurring(id)
    return found is not None and found.last_due is not None


def test_change_of_a_paused_job_leaves_it_paused(apps: Applications, database_url: str) -> None:
    scheduler = make_scheduler()
    apps.make(scheduler, database_url)
    scheduler.add_or_update("sum", "add", YEARLY, args=[1])
    scheduler.pause("sum")

    scheduler.add_or_update("sum", "add", EVERY_MINUTE, args=[1])

    found = scheduler.get_recurring("sum")
    assert found is not None
    assert found.paused
    assert found.next_at is None


@pytest.mark.parametrize("verb", ["trigger", "pause", "resume", "remove"])
def test_unknown_recurring_job_is_named(apps: Applications, database_url: str, verb: str) -> None:
    scheduler = make_scheduler()
    apps.make(scheduler, database_url)

    with pytest.raises(UnknownRecurringJobError, match="no recurring job with the id 'nope'"):
        getattr(scheduler, verb)("nope")


def test_job_declared_while_the_server_runs_ticks(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    app = apps.make(scheduler, database_url)
    apps.start(app)

    @scheduler.recurring("late", "* * * * * *")
    def late() -> None: ...

    wait_for(lambda: _last_done(scheduler, "late"), timeout=5)


def test_factory_that_declares_jobs_may_make_the_application_again(
    apps: Applications, tmp_path: Path
) -> None:
    scheduler = Scheduler()

    def create_app(number: int, cron: str) -> Flask:
        app = apps.make(
            scheduler, f"sqlite:///{tmp_path}/{number}.sqlite3", name=f"application{number}"
        )

        @scheduler.recurring("job", cron)
        def job() -> None: ...

        return app

    first, second = create_app(1, YEARLY), create_app(2, EVERY_MINUTE)

    for app in (first, second):
        with app.app_context():
            assert [job.cron for job in scheduler.list_recurring()] == [EVERY_MINUTE]


def test_definition_declared_anew_is_written_again(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()

    def declare(cron: str) -> None:
        @scheduler.recurring("job", cron)
        def job() -> None: ...

    declare(YEARLY)
    apps.make(scheduler, sqlite_url)
    assert [job.cron for job in scheduler.list_recurring()] == [YEARLY]

    declare(EVERY_MINUTE)

    assert [job.cron for job in scheduler.list_recurring()] == [EVERY_MINUTE]


# -- two applications on one database


def test_two_applications_run_each_its_own_jobs(apps: Applications, database_url: str) -> None:
    shop, blog = Scheduler(), Scheduler()
    ran: list[tuple[str, int]] = []

    @shop.task("shop.sell")
    def sell(number: int) -> None:
        ran.append(("shop", number))

    @blog.task("blog.post")
    def post(number: int) -> None:
        ran.append(("blog", number))

    one = apps.make(shop, database_url, name="shop")
    two = apps.make(blog, database_url, name="blog")
    waiting = shop.enqueue_many(sell.call(number) for number in range(20))
    apps.start(two)
    assert wait_for_job(two, post.enqueue(99)).state is JobState.SUCCEEDED
    assert {job_of(one, id).state for id in waiting} == {JobState.ENQUEUED}, "none of its own"

    apps.start(one)
    mixed = [task.enqueue(number) for number in range(20) for task in (sell, post)]

    done = wait_for_all(one, [*waiting, *mixed])
    assert {job.state for job in done} == {JobState.SUCCEEDED}
    assert sorted(number for name, number in ran if name == "shop") == sorted([*range(20)] * 2)
    assert sorted(number for name, number in ran if name == "blog") == [*range(20), 99]


def test_same_id_in_two_applications_is_one_row_and_the_last_one_stands(
    apps: Applications, database_url: str
) -> None:
    shop, blog = Scheduler(), Scheduler()
    ran: list[str] = []

    @shop.recurring("nightly", YEARLY, name="shop.nightly")
    def of_shop() -> None:
        ran.append("shop")

    @blog.recurring("nightly", "* * * * * *", name="blog.nightly")
    def of_blog() -> None:
        ran.append("blog")

    one = apps.make(shop, database_url, name="shop")
    two = apps.make(blog, database_url, name="blog")
    apps.start(one)
    (written,) = shop.list_recurring()
    assert written.task == "shop.nightly"

    apps.start(two)

    wait_for(lambda: "blog" in ran, timeout=5)
    (stands,) = shop.list_recurring()
    assert (stands.task, stands.cron) == ("blog.nightly", "* * * * * *")
    assert "shop" not in ran


def test_whoever_knows_the_task_runs_the_other_applications_job(
    apps: Applications, database_url: str
) -> None:
    web, worker = Scheduler(), Scheduler()
    web.task("shared")(add)
    worker.task("shared")(add)
    apps.make(web, database_url, name="web")
    app = apps.make(worker, database_url, name="worker")
    apps.start(app)

    assert wait_for_job(app, web.enqueue("shared", 1)).result == 2


# -- wrong use


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cron": "61 * * * *"}, "the field Minutes is wrong"),
        ({"cron": "* * *"}, "[Cc]ron"),
        ({"cron": ""}, "[Cc]ron"),
        ({"cron": 5}, "cron expression must be a str"),
        ({"cron": "0 0 30 2 *"}, "cron '0 0 30 2 .' never fires"),
        ({"timezone": "Mars/Olympus"}, "timezone 'Mars/Olympus' is not known.*Europe/Berlin"),
        ({"timezone": "../../etc/passwd"}, "timezone .* is not known"),
        ({"timezone": ""}, "timezone '' is not known"),
        (
            {"timezone": None},
            "timezone is the name of a zone .*, or ZoneInfo.*, not None",
        ),
        ({"id": ""}, "recurring job id '' is empty"),
        ({"id": "x" * 10_000}, "recurring job id 'xxx.* has 10000 characters"),
        ({"id": "two\nlines"}, r"recurring job id 'two\\nlines' holds a control character"),
        ({"id": "nul\0"}, "holds a control character"),
        ({"id": " padded "}, "begins or ends with white space"),
        ({"id": 5}, "recurring job id 5 is no text"),
        ({"queue": "UPPER"}, "queue 'UPPER' is not a queue's name"),
        ({"queue": "q" * 65}, "queue .* is not a queue's name"),
        ({"priority": "high"}, "priority is a whole number from -32768 to 32767.*'high'"),
        ({"priority": 40_000}, "priority is a whole number"),
        ({"retry": -1}, "retry: attempts can't be -1"),
        ({"retry": "often"}, "retry can't be 'often'"),
        ({"timeout": 0}, "timeout must be longer than nothing"),
        ({"timeout": float("nan")}, "timeout must be longer than nothing and finite"),
        ({"timeout": "1h"}, "timeout is a number of seconds or a timedelta, not '1h'"),
        ({"name": "a\tb"}, r"holds a control character"),
        ({"args": ["many"]}, "parameter 'left'"),
        ({"args": [1, 2, 3]}, "takes 2 positional arguments"),
        ({"kwargs": {"nope": 1}}, "no parameter 'nope'|parameter 'left'"),
        ({"args": []}, "misses a value for parameter 'left'"),
    ],
    ids=lambda value: repr(value)[:30] if isinstance(value, dict) else "",
)
def test_wrong_declaration_is_refused_with_its_field_named(
    given: dict[str, Any], message: str
) -> None:
    scheduler = Scheduler()
    right: dict[str, Any] = {"id": "job", "cron": EVERY_MINUTE, "args": [1]}

    with pytest.raises((ConfigurationError, TypeError), match=message):
        scheduler.recurring(**(right | given))(add)

    assert scheduler.definitions() == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cron": "61 * * * *"}, "the field Minutes is wrong"),
        ({"timezone": "Mars"}, "timezone 'Mars' is not known"),
        ({"id": "x" * 201}, "has 201 characters"),
        ({"queue": "a b"}, "queue 'a b' is not a queue's name"),
        ({"task": "nope"}, "no task is registered as 'nope'"),
        ({"args": ["many"]}, "parameter 'left'"),
    ],
)
def test_wrong_add_or_update_is_refused(
    apps: Applications, sqlite_url: str, given: dict[str, Any], message: str
) -> None:
    scheduler = make_scheduler()
    apps.make(scheduler, sqlite_url)
    right: dict[str, Any] = {"id": "job", "task": "add", "cron": EVERY_MINUTE, "args": [1]}

    with pytest.raises((ConfigurationError, TypeError, UnknownTaskError), match=message):
        scheduler.add_or_update(**(right | given))

    assert scheduler.list_recurring() == []


def test_decorator_without_parentheses_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"@scheduler\.task\(\) with its parentheses"):
        Scheduler().task(add)  # type: ignore[arg-type]
    right = r"write @scheduler.recurring\(\"an-id\", \"\*/5 \* \* \* \*\"\) with its parentheses"
    with pytest.raises(ConfigurationError, match=right):
        Scheduler().recurring(add)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda scheduler: scheduler.recurring("sum", YEARLY, overlp="skip"),
            r"^@scheduler.recurring\(\) has no option 'overlp'; did you mean 'overlap'\?",
        ),
        (
            lambda scheduler: scheduler.add_or_update("sum", "add", YEARLY, crno=YEARLY),
            r"^scheduler.add_or_update\(\) has no option 'crno'; did you mean 'cron'\?",
        ),
        (
            lambda scheduler: scheduler.task(quue="mail"),
            r"^@scheduler.task\(\) has no option 'quue'; did you mean 'queue'\?",
        ),
        (
            lambda scheduler: scheduler.task()(add).options(xyz=1),
            r"^task.options\(\) has no option 'xyz'; it has 'queue', 'priority', 'key', ",
        ),
    ],
)
def test_unknown_option_names_what_was_called_and_what_is_near(
    call: Callable[[Scheduler], object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call(Scheduler())
    with pytest.raises(TypeError):
        call(Scheduler())


def test_timezone_may_be_a_zone(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()
    scheduler.recurring("sum", YEARLY, args=[1], timezone=ZoneInfo("Asia/Tokyo"))(add)
    apps.make(scheduler, sqlite_url)

    def zone() -> str:
        found = scheduler.get_recurring("sum")
        assert found is not None
        return found.timezone

    assert zone() == "Asia/Tokyo"
    scheduler.override("sum", timezone=ZoneInfo("Europe/Berlin"))
    assert zone() == "Europe/Berlin"
    counts = b"".join(count.to_bytes(4) for count in (0, 0, 0, 0, 1, 4))
    nameless = ZoneInfo.from_file(BytesIO(b"TZif" + bytes(16) + counts + bytes(6) + b"UTC\0"))
    with pytest.raises(ConfigurationError, match=r"^timezone is the name of a zone"):
        scheduler.override("sum", timezone=nameless)


@pytest.mark.parametrize("id", ["1", 1.0, None, True, "x"])
def test_id_of_a_job_that_is_no_number_is_told(
    apps: Applications, sqlite_url: str, id: Any
) -> None:
    scheduler = Scheduler()
    apps.make(scheduler, sqlite_url)
    for call in (scheduler.get_job, scheduler.requeue, scheduler.delete):
        with pytest.raises(TypeError, match=rf"job's id is a whole number.* not {id!r}$"):
            call(id)


def test_task_that_is_made_while_something_is_handled_warns(
    apps: Applications, sqlite_url: str
) -> None:
    scheduler = Scheduler()

    def make(name: str) -> Task[..., Any]:
        def within() -> None: ...

        return scheduler.task(name)(within)

    app = apps.make(scheduler, sqlite_url)

    @scheduler.task("making")
    def making() -> str:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make("of the job")
        (warning,) = caught
        return f"{warning.filename == __file__} {warning.message}"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make("at any time")  # as an application's factory does
        apps.start(app)
        make("beside a server that runs")  # as the factory of another application does
        with app.app_context():
            make("with an application at hand")
    with app.test_request_context():
        with pytest.warns(UserWarning, match="'of the request' is made while a request is ha.*it,"):
            make("of the request")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            make("of the request")  # once is enough

    result = wait_for_job(app, making.enqueue()).result
    assert result.startswith("True the task 'of the job' is made while a job is handled"), result


def test_task_over_recurring_is_told() -> None:
    scheduler = Scheduler()
    task = scheduler.recurring("sum", YEARLY, args=[1], name="add")(add)

    with pytest.raises(ConfigurationError, match=r"put @scheduler\.recurring above @scheduler\."):
        scheduler.task()(task)


def test_id_declared_twice_is_refused() -> None:
    scheduler = Scheduler()
    scheduler.recurring("sum", YEARLY, args=[1])(add)

    with pytest.raises(ConfigurationError, match="'sum' is declared twice"):

        @scheduler.recurring("sum", EVERY_MINUTE)
        def other() -> None: ...

    with pytest.raises(ConfigurationError, match="'sum' is declared twice"):
        scheduler.recurring("sum", EVERY_MINUTE, args=[1])(scheduler.tasks[f"{__name__}.add"])


def test_name_given_twice_is_refused() -> None:
    scheduler = Scheduler()
    scheduler.task("sum")(add)

    with pytest.raises(ConfigurationError, match="two functions are registered as the task 'sum'"):

        @scheduler.task("sum")
        def other() -> None: ...


def test_task_of_another_scheduler_is_refused() -> None:
    first, second = Scheduler(), Scheduler()
    task = first.task("sum")(add)

    with pytest.raises(ConfigurationError, match="'sum' belongs to another scheduler"):
        second.recurring("sum", YEARLY, args=[1])(task)
