"""An orderly stop loses nothing: what can end ends, what can't is handed back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sized
from contextlib import suppress
from datetime import timedelta

import pytest
from flask import Flask

from flask_recurring import JobCancelled, JobContext, JobState, Scheduler
from flask_recurring._server import shutdown
from tests.applications import (
    Applications,
    binding_of,
    job_of,
    lines_of,
    store_of,
    wait_for_all,
    wait_for_job,
)
from tests.postgres import Cluster
from tests.waiting import wait_for


def stop(app: Flask, grace: float | None = None) -> float:
    """Stop the application's server; returns how many seconds it took."""
    before = time.monotonic()
    binding_of(app).stop_server(grace)
    return time.monotonic() - before


def in_background(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_idle_server_stops_at_once(apps: Applications, database_url: str) -> None:
    app = apps.make(Scheduler(), database_url, shutdown_timeout=30)
    apps.start(app)

    assert stop(app) < 1


def test_short_job_ends_and_a_long_one_is_handed_back(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()
    go_on = threading.Event()

    @scheduler.task()
    def short(context: JobContext) -> bool:
        return context.poll(0.5)

    @scheduler.task()
    def long(context: JobContext) -> str:
        context.write_line("attempt", context.attempt)
        go_on.wait(20)
        return "done"

    app = apps.make(scheduler, database_url, shutdown_timeout=1)
    one = apps.start(app)
    jobs = [short.enqueue(), long.enqueue()]
    for job in jobs:
        wait_for_job(app, job, JobState.PROCESSING)
    wait_for(lambda: lines_of(app, jobs[1]) == ["attempt 1"])

    took = stop(app)

    assert 1 <= took < 3
    assert wait_for_job(app, jobs[0]).result is False, "it was left in peace"
    returned = job_of(app, jobs[1])
    assert (returned.state, returned.attempt, returned.claim) == (JobState.ENQUEUED, 0, 1)
    assert [returned.started_at, returned.finished_at, returned.error] == [None] * 3
    (attempt,) = store_of(app).jobs.attempts(returned.id)
    assert (attempt.outcome, attempt.attempt, attempt.retry_at) == ("HandedBack", 1, None)
    assert attempt.server == one.name
    assert store_of(app).servers.live() == []

    go_on.set()
    apps.start(app)
    done = wait_for_job(app, jobs[1])
    assert (done.result, done.attempt, done.claim) == ("done", 1, 2)


def test_run_that_stops_when_it_is_asked_to_is_handed_back(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()
    reasons: list[str | None] = []

    @scheduler.task(retry=0)
    def work(context: JobContext) -> None:
        try:
            context.wait(60)
        finally:
            reasons.append(context.cancel_reason)

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = work.enqueue()
    wait_for_job(app, job, JobState.PROCESSING)

    assert stop(app, grace=0) < 1.5

    assert reasons == ["the server is stopping"]
    returned = job_of(app, job)
    assert (returned.state, returned.attempt) == (JobState.ENQUEUED, 0)
    assert [one.outcome for one in store_of(app).jobs.attempts(job.id)] == ["HandedBack"]


def polls(context: JobContext) -> None:
    context.poll(60)


def asks_whether(context: JobContext) -> None:
    while not context.cancelled:
        pause(0.01)


def asks_why(context: JobContext) -> None:
    while context.cancel_reason is None:
        pause(0.01)


def takes_it_for_an_error_of_one_item(context: JobContext) -> None:
    for _ in range(600):
        with suppress(Exception):
            context.wait(0.1)
            context.write_line("called")


def swallows_everything(context: JobContext) -> None:
    for _ in range(600):
        with suppress(BaseException):
            context.wait(0.1)


def fails_for_want_of_the_rest(context: JobContext) -> None:
    try:
        context.wait(60)
    except JobCancelled as error:
        raise RuntimeError("interrupted") from error


CUT_SHORT: list[Callable[[JobContext], None]] = [
    *(polls, asks_whether, asks_why, takes_it_for_an_error_of_one_item),
    *(swallows_everything, fails_for_want_of_the_rest),
]


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def test_run_that_was_cut_short_by_a_stop_is_handed_back_however_it_came_back(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()
    for function in CUT_SHORT:
        scheduler.task(function.__name__, retry=0)(function)
    app = apps.make(scheduler, database_url, workers=len(CUT_SHORT))
    apps.start(app)
    jobs = {function.__name__: scheduler.enqueue(function.__name__) for function in CUT_SHORT}
    for job in jobs.values():
        wait_for_job(app, job, JobState.PROCESSING)
    wait_for(lambda: lines_of(app, jobs["takes_it_for_an_error_of_one_item"]))

    stop(app, grace=0)

    after = {name: job_of(app, job) for name, job in jobs.items()}
    assert {name: (job.state, job.attempt) for name, job in after.items()} == dict.fromkeys(
        jobs, (JobState.ENQUEUED, 0)
    )
    attempts = {name: store_of(app).jobs.attempts(job.id) for name, job in jobs.items()}
    assert {tuple(one.outcome for one in some) for some in attempts.values()} == {("HandedBack",)}
    (odd,) = attempts["fails_for_want_of_the_rest"]
    assert (odd.error_type, odd.message) == ("RuntimeError", "interrupted")
    assert "JobCancelled: the server is stopping" in (odd.traceback or "")
    assert len(lines_of(app, jobs["takes_it_for_an_error_of_one_item"])) < 50


def test_run_that_never_looked_and_came_to_its_end_has_succeeded(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()
    asked = threading.Event()

    @scheduler.task()
    def work() -> str:
        asked.wait(60)
        return "did all of it"

    app = apps.make(scheduler, database_url)
    one = apps.start(app)
    job = work.enqueue()
    wait_for_job(app, job, JobState.PROCESSING)
    stopping = in_background(lambda: one.stop(0.0, last_word=20.0))
    (run,) = one._components.buffer.runs()
    wait_for(lambda: run.context.stop_reason is not None)

    asked.set()
    stopping.join(10)

    done = job_of(app, job)
    assert (done.state, done.result) == (JobState.SUCCEEDED, "did all of it")


def test_jobs_that_were_taken_and_not_begun_go_back_as_if_never_taken(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()
    go_on = threading.Event()

    @scheduler.task()
    def quick() -> None: ...

    @scheduler.task()
    def long() -> None:
        go_on.wait(20)

    app = apps.make(scheduler, database_url, workers=2)
    apps.start(app)
    # Quick ones first, so that the server keeps a stock; then long ones that hold it up.
    wait_for_all(app, scheduler.enqueue_many(quick.call() for _ in range(300)))
    ids = scheduler.enqueue_many(long.call() for _ in range(20))
    wait_for(lambda: len(_in(app, JobState.PROCESSING)) >= 2)

    stop(app, grace=0.2)
    go_on.set()

    jobs = [job_of(app, id) for id in ids]
    assert {(job.state, job.attempt) for job in jobs} == {(JobState.ENQUEUED, 0)}
    begun = [id for id in ids if store_of(app).jobs.attempts(id)]
    assert len(begun) <= 2
    apps.start(app)
    assert {job.attempt for job in wait_for_all(app, ids)} == {1}


def _in(app: Flask, state: JobState) -> list[int]:
    return [job.id for job in store_of(app).jobs.page(state, limit=1000).items]


def test_hurry_cuts_the_grace(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    go_on = threading.Event()

    @scheduler.task()
    def work() -> None:
        go_on.wait(60)

    app = apps.make(scheduler, database_url, shutdown_timeout=60)
    one = apps.start(app)
    job = work.enqueue()
    wait_for_job(app, job, JobState.PROCESSING)
    stopping = in_background(lambda: stop(app))
    wait_for(lambda: not one.running)

    one.hurry()
    stopping.join(5)
    go_on.set()

    assert not stopping.is_alive()
    assert job_of(app, job).state is JobState.ENQUEUED


def test_reloader_waits_for_no_run(
    apps: Applications, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WERKZEUG_RUN_MAIN", "true")
    scheduler = Scheduler()
    go_on = threading.Event()

    @scheduler.task()
    def work() -> None:
        go_on.wait(60)

    app = apps.make(scheduler, sqlite_url, shutdown_timeout=60)
    apps.start(app)
    job = work.enqueue()
    wait_for_job(app, job, JobState.PROCESSING)

    took = stop(app)
    go_on.set()

    assert took < 1, "its parent waits for a quarter of a second"
    assert job_of(app, job).state is JobState.ENQUEUED


def test_server_takes_nothing_more_once_it_stops(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    begun, go_on = threading.Event(), threading.Event()

    @scheduler.task()
    def work() -> None:
        begun.set()
        go_on.wait(60)

    app = apps.make(scheduler, database_url, shutdown_timeout=60)
    one = apps.start(app)
    first = work.enqueue()
    assert begun.wait(10)
    stopping = in_background(lambda: stop(app))
    wait_for(lambda: not one.running)
    wait_for(lambda: not _thread("recurring-claimer"))

    second = work.enqueue()
    go_on.set()
    stopping.join(5)

    assert not stopping.is_alive()
    assert job_of(app, first).state is JobState.SUCCEEDED
    assert job_of(app, second).state is JobState.ENQUEUED


def _thread(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


def test_stops_under_load_lose_no_job_and_run_none_twice(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()
    runs: Counter[int] = Counter()
    lock = threading.Lock()

    @scheduler.task()
    def work(context: JobContext) -> None:
        with lock:
            runs[context.job_id] += 1

    app = apps.make(scheduler, database_url)
    ids = scheduler.enqueue_many(work.call() for _ in range(1000))
    for share in (150, 400, 1000):
        apps.start(app)
        wait_for_count(runs, share)
        stop(app, grace=5)

    done = wait_for_all(app, ids)
    assert {job.state for job in done} == {JobState.SUCCEEDED}
    assert {job.attempt for job in done} == {1}
    assert set(runs.values()) == {1}
    assert len(runs) == len(ids)


def wait_for_count(runs: Sized, share: int) -> None:
    wait_for(lambda: len(runs) >= share, timeout=20, interval=0.001)


def test_failure_during_the_grace_is_written_with_its_retry(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def work(context: JobContext) -> None:
        context.write_line("begun")
        context.wait(0.3)
        raise ValueError("no")

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = work.enqueue()
    wait_for_job(app, job, JobState.PROCESSING)

    stop(app, grace=5)

    failed = job_of(app, job)
    assert (failed.state, failed.attempt) == (JobState.SCHEDULED, 1)
    assert failed.run_at - failed.created_at > timedelta(seconds=10)
    assert "begun" in [line.text for line in store_of(app).console.lines(job.id, 1)]


def test_stop_ends_also_while_the_database_is_down(
    apps: Applications, private_postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown, "CLOSING", 1.0)
    scheduler = Scheduler()
    go_on = threading.Event()

    @scheduler.task()
    def work() -> str:
        go_on.wait(60)
        return "done"

    app = apps.make(scheduler, private_postgres.create_database(), shutdown_timeout=0.5)
    apps.start(app)
    job = work.enqueue()
    wait_for_job(app, job, JobState.PROCESSING)
    private_postgres.stop()

    assert stop(app) < 8

    go_on.set()
    private_postgres.start()
    apps.start(app)
    done = wait_for_job(app, job, timeout=20)
    assert (done.state, done.result) == (JobState.SUCCEEDED, "done")
