"""A server's life, and which jobs it takes."""

from __future__ import annotations

import logging
import os
import socket
import threading
from datetime import timedelta

import pytest

from flask_recurring import Job, JobContext, JobState, Scheduler
from flask_recurring._server import Server
from tests.applications import (
    HAIR,
    Applications,
    binding_of,
    job_of,
    servers_ever,
    store_of,
    wait_for_all,
    wait_for_job,
)
from tests.waiting import wait_for


def threads_of_servers() -> list[str]:
    """Names of the threads that servers have in this process, without the one that watches."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("recurring-") and "watch" not in name]


def test_server_signs_on_and_off(apps: Applications, database_url: str) -> None:
    app = apps.make(Scheduler(), database_url, queues="mail,*")
    server = apps.start(app)

    (row,) = store_of(app).servers.live()
    assert row.id == server.id
    assert row.name == server.name == f"{socket.gethostname()}:{os.getpid()}"
    assert (row.host, row.pid, row.application) == (socket.gethostname(), os.getpid(), "shop")
    assert (row.threads, row.busy, row.queues) == (4, 0, ["mail", "*"])
    assert not row.silent

    binding_of(app).stop_server()

    assert store_of(app).servers.live() == []
    wait_for(lambda: not threads_of_servers(), message=str(threads_of_servers()))


def test_server_beats_and_tells_how_busy_it_is(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    go_on = threading.Event()

    @scheduler.task()
    def work() -> None:
        go_on.wait(10)

    app = apps.make(scheduler, database_url)
    apps.start(app)
    first = store_of(app).servers.live()[0].beat_at
    job = work.enqueue()

    wait_for(lambda: store_of(app).servers.live()[0].busy == 1)
    assert store_of(app).servers.live()[0].beat_at > first
    go_on.set()
    wait_for_job(app, job)
    wait_for(lambda: store_of(app).servers.live()[0].busy == 0)


def test_server_may_have_a_name(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("work")(lambda: None)
    app = apps.make(scheduler, sqlite_url, server_name="north")

    assert apps.start(app).name == "north"
    assert wait_for_job(app, task.enqueue()).server == "north"


def test_start_twice_is_one_server(apps: Applications, sqlite_url: str) -> None:
    app = apps.make(Scheduler(), sqlite_url)
    first, second = apps.start(app), apps.start(app)

    assert first is second
    assert servers_ever(app) == 1


def test_stop_twice_and_stop_without_start_do_no_harm(apps: Applications, sqlite_url: str) -> None:
    app = apps.make(Scheduler(), sqlite_url)
    binding = binding_of(app)

    binding.stop_server()
    server = apps.start(app)
    binding.stop_server()
    server.stop()

    assert binding.server is None
    assert not server.running


def test_server_starts_anew_after_a_stop(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("work")(lambda: "done")
    app = apps.make(scheduler, database_url)

    for number in range(1, 4):
        server = apps.start(app)
        assert server.running
        assert wait_for_job(app, task.enqueue()).result == "done"
        binding_of(app).stop_server()
        assert not server.running
        assert servers_ever(app) == number


def test_server_that_is_stopped_while_it_starts(apps: Applications) -> None:
    app = apps.make(Scheduler(), "postgresql://nobody@127.0.0.1:1/nowhere")
    server = binding_of(app).start_server()

    server.stop()

    assert not server.ready.is_set()
    wait_for(lambda: not threads_of_servers(), message=str(threads_of_servers()))


def test_several_servers_in_one_process(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("work")(lambda: None)
    made = [apps.make(scheduler, database_url, name=name) for name in ("first", "second")]
    for app in made:
        apps.start(app)
    with made[0].app_context():
        ids = scheduler.enqueue_many(task.call() for _ in range(100))

    wait_for_all(made[0], ids)
    assert len(store_of(made[0]).servers.live()) == 2

    binding_of(made[0]).stop_server()
    with made[1].app_context():
        assert wait_for_job(made[1], task.enqueue()).state is JobState.SUCCEEDED


# -- which jobs it takes


def test_server_takes_from_its_queues_only(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("work")(lambda: None)
    app = apps.make(scheduler, database_url, queues=["mail", "sums"])
    apps.start(app)
    other = task.enqueue()
    mail, sums = (task.options(queue=queue).enqueue() for queue in ("mail", "sums"))

    wait_for_all(app, [mail, sums])
    assert job_of(app, other).state is JobState.ENQUEUED


def test_queues_come_in_the_order_that_was_given_and_priorities_within(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()
    ran: list[str] = []

    @scheduler.task()
    def work(name: str) -> None:
        ran.append(name)

    app = apps.make(scheduler, database_url, queues=["first", "*", "last"], workers=1)
    jobs: list[Job] = []
    for queue in ("last", "other", "first"):
        for priority in (1, -1, 0):
            options = work.options(queue=queue, priority=priority)
            jobs += [options.enqueue(f"{queue} {priority} {number}") for number in range(2)]
    apps.start(app)
    wait_for_all(app, jobs)

    assert ran == [
        f"{queue} {priority} {number}"
        for queue in ("first", "other", "last")
        for priority in (-1, 0, 1)
        for number in range(2)
    ]


def test_jobs_of_unknown_tasks_wait_for_a_server_that_knows_them(
    apps: Applications, database_url: str
) -> None:
    old, new = Scheduler(), Scheduler()
    gone = old.task("gone")(lambda: "back again")
    task = new.task("known")(lambda: "known")
    apps.make(old, database_url, name="old")
    app = apps.make(new, database_url, name="new")
    lost = [gone.enqueue() for _ in range(3)]
    old.add_or_update("gone", gone, "* * * * * *")
    apps.start(app)

    known = [task.enqueue() for _ in range(20)]
    wait_for_all(app, known)
    for job in lost:
        waiting = job_of(app, job)
        assert (waiting.state, waiting.attempt, waiting.error) == (JobState.ENQUEUED, 0, None)
    found = new.get_recurring("gone")
    assert found is not None
    assert not found.paused

    # The server hears of a task that is registered while it runs.
    new.task("gone")(lambda: "back again")

    assert {job.result for job in wait_for_all(app, lost)} == {"back again"}


def test_waiting_work_does_not_keep_an_idle_server_from_running_it(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()
    go_on = threading.Event()
    begun: list[int] = []

    @scheduler.task()
    def work(context: JobContext) -> None:
        begun.append(context.job_id)
        go_on.wait(10)

    busy = apps.make(scheduler, database_url, name="busy", workers=1, server_name="busy")
    idle = apps.make(scheduler, database_url, name="idle", workers=1, server_name="idle")
    apps.start(busy)
    with busy.app_context():
        first, second = work.enqueue(), work.enqueue()
    wait_for_job(busy, first, JobState.PROCESSING)

    apps.start(idle)

    wait_for(lambda: len(begun) == 2, timeout=5, message="both running at once")
    go_on.set()
    on = {job.server for job in wait_for_all(busy, [first, second])}
    assert on == {"busy", "idle"}


def test_job_that_is_due_later_starts_at_its_time(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("work")(lambda: None)
    # A look once a minute would be too late: the server sleeps until the next job's time.
    app = apps.make(scheduler, database_url, poll_interval=60)
    apps.start(app)
    jobs = wait_for_all(app, [task.schedule(timedelta(seconds=wait)) for wait in (0.5, 1.0)])

    for job in jobs:
        assert job.started_at is not None
        assert -HAIR <= job.started_at - job.run_at < timedelta(seconds=2)


# -- among others


def test_server_that_was_taken_for_dead_signs_on_anew(
    apps: Applications, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler()
    runs: list[str | None] = []
    begun, go_on = threading.Event(), threading.Event()

    @scheduler.task()
    def work(context: JobContext) -> None:
        begun.set()
        go_on.wait(10)
        runs.append(context.cancel_reason)

    app = apps.make(scheduler, database_url)
    server = apps.start(app)
    job = work.enqueue()
    assert begun.wait(10)
    first = server.id
    with store_of(app).database.connect() as connection:
        store_of(app).servers.rescue(connection, [first])

    wait_for(lambda: server.id != first, message="a new sign-on")
    assert "others took it for dead; it registers again" in caplog.text
    go_on.set()

    done = wait_for_job(app, job)
    assert done.state is JobState.SUCCEEDED
    assert done.claim == 2, "the run of its second claim counts"
    wait_for(lambda: len(runs) == 2)
    assert "the server is stopping" in runs
    assert [row.id for row in store_of(app).servers.live()] == [server.id]


def test_nothing_is_logged_above_info_in_ordinary_operation(
    apps: Applications, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler()
    task = scheduler.task("work")(lambda: None)
    app = apps.make(scheduler, database_url)
    apps.start(app)
    wait_for_all(app, scheduler.enqueue_many(task.call() for _ in range(200)))
    binding_of(app).stop_server()

    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_server_has_few_threads_and_connections(apps: Applications, postgres_url: str) -> None:
    scheduler = Scheduler()
    task = scheduler.task("work")(lambda: None)
    # With the interval that everybody has: the connection for maintenance is open for moments.
    app = apps.make(scheduler, postgres_url, heartbeat_interval=2)
    server: Server = apps.start(app)
    wait_for_all(app, scheduler.enqueue_many(task.call() for _ in range(50)))

    assert len(threads_of_servers()) == server.config.threads + 7

    def roles() -> list[str]:
        with store_of(app).database.connect() as connection:
            names = connection.exec_driver_sql(
                "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name LIKE 'flask_recurring %%'"
            ).scalars()
            return sorted(name.removeprefix("flask_recurring ") for name in names)

    steady = ["claim", "complete", "control", "heartbeat", "listen"]
    wait_for(lambda: roles() == steady, timeout=15, message="five connections")
