"""However a run ends, its job ends as it should, and the worker goes on."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa

from flask_recurring import Job, JobCancelled, JobContext, JobState, Scheduler
from tests.applications import (
    Applications,
    let_run_now,
    lines_of,
    store_of,
    wait_for_all,
    wait_for_job,
)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Mute(Exception):
    def __str__(self) -> NoReturn:
        raise SystemExit("not even that")


class Odd(BaseException):
    pass


def raises(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def recurse() -> None:
    recurse()


def fill_the_stack_with_frames() -> None:
    def deeper(level: int) -> None:
        if level == 0:
            raise ValueError("x" * 10_000)
        deeper(level - 1)

    deeper(500)


async def ends_its_loop() -> None:
    raise KeyboardInterrupt


async def cancels_itself() -> None:
    raise asyncio.CancelledError


def chains() -> None:
    try:
        _ = dict[str, int]()["key"]
    except KeyError as error:
        raise ValueError("two\nlines \0 and \ud800") from error


ENDS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "raises": (raises(ValueError("no such page")), "ValueError: no such page", "ValueError"),
    "says nothing": (raises(ValueError()), "ValueError", "ValueError"),
    "exits": (lambda: sys.exit(3), "SystemExit: 3", "SystemExit"),
    "is interrupted": (raises(KeyboardInterrupt()), "KeyboardInterrupt", "KeyboardInterrupt"),
    "ends a generator": (raises(GeneratorExit()), "GeneratorExit", "GeneratorExit"),
    "stops iterating": (raises(StopIteration(5)), "StopIteration: 5", "StopIteration"),
    "raises a base": (raises(Odd("base")), "Odd: base", "Odd"),
    "can't be shown": (
        raises(Unspeakable()),
        "Unspeakable: (its message can't be shown: RuntimeError)",
        "Unspeakable",
    ),
    "exits when shown": (
        raises(Mute()),
        "Mute: (its message can't be shown: SystemExit)",
        "Mute",
    ),
    "is a group": (
        raises(ExceptionGroup("both", [ValueError("a"), OSError("b")])),
        "ExceptionGroup: both (2 sub-exceptions)",
        "ExceptionGroup",
    ),
    "recurses": (recurse, "RecursionError: maximum recursion depth exceeded", "RecursionError"),
    "goes deep": (fill_the_stack_with_frames, "ValueError: xxx", "ValueError"),
    "chains": (chains, "ValueError: two", "ValueError"),
    "interrupts its loop": (ends_its_loop, "KeyboardInterrupt", "KeyboardInterrupt"),
    "cancels itself": (cancels_itself, "CancelledError", "CancelledError"),
    "asks itself to stop": (raises(JobCancelled("I want to")), "JobCancelled: I want", "JobCanc"),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def failed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All these ends, reached one after the other by one worker thread: the jobs by name."""
    folder = tmp_path_factory.mktemp("runner")
    url = f"sqlite:///{folder}/recurring.sqlite3"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").create_database()
    scheduler = Scheduler()
    for name, (function, _, _) in ENDS.items():
        scheduler.task(name, retry=0)(function)
    scheduler.task("well")(lambda: "well")
    with Applications(folder) as apps:
        app = apps.make(scheduler, url, workers=1)
        apps.start(app)
        jobs = {name: scheduler.enqueue(name) for name in ENDS}
        last = scheduler.enqueue("well")
        done = dict(zip(jobs, wait_for_all(app, jobs.values(), timeout=30), strict=True))
        assert wait_for_job(app, last).result == "well", "the worker goes on after all of them"
        yield done, {name: store_of(app).jobs.attempts(job.id) for name, job in done.items()}
    if request.param == "postgresql":
        request.getfixturevalue("postgres").drop_database(url)


@pytest.mark.parametrize("name", ENDS)
def test_whatever_a_run_raises_it_has_failed(
    failed: tuple[dict[str, Job], dict[str, list[Any]]], name: str
) -> None:
    job, (attempt,) = failed[0][name], failed[1][name]
    _, error, kind = ENDS[name]

    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.startswith(error)
    assert "\n" not in job.error
    assert job.finished_at is not None
    assert (attempt.outcome, attempt.attempt, attempt.retry_at) == ("Failed", 1, None)
    assert attempt.error_type.startswith(kind)
    assert attempt.traceback is not None
    assert len(attempt.traceback) <= 110_000
    assert attempt.server == job.server


def test_traceback_shows_the_jobs_code_and_its_cause(
    failed: tuple[dict[str, Job], dict[str, list[Any]]],
) -> None:
    (attempt,) = failed[1]["chains"]

    assert "KeyError: 'key'" in attempt.traceback
    assert "The above exception was the direct cause" in attempt.traceback
    assert 'raise ValueError("two' in attempt.traceback
    assert "flask_recurring/_server/runner.py" not in attempt.traceback
    # Nor what calls the job's code on the way to it.
    assert attempt.traceback.split("direct cause")[1].count("File ") == 1
    assert attempt.message.startswith("two\nlines")


# -- retries


def test_job_that_fails_runs_again_after_hangfires_delays(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def work(context: JobContext) -> None:
        raise ValueError(f"attempt {context.attempt}")

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = work.enqueue()

    for retry in range(1, 11):
        waiting = wait_for_job(app, job, JobState.SCHEDULED)
        attempts = store_of(app).jobs.attempts(job.id)
        last = attempts[-1]
        delay = waiting.run_at - last.finished_at
        least = (retry - 1) ** 4 + 15
        assert timedelta(seconds=least - 1) <= delay <= timedelta(seconds=least + 30 * retry + 1)
        assert waiting.attempt == len(attempts) == retry
        assert waiting.error == f"ValueError: attempt {retry}"
        assert waiting.started_at is waiting.finished_at is None
        assert (last.outcome, last.attempt) == ("Failed", retry)
        assert last.retry_at == waiting.run_at
        let_run_now(app, job)

    done = wait_for_job(app, job)
    assert (done.state, done.attempt) == (JobState.FAILED, 11)
    assert store_of(app).jobs.attempts(job.id)[-1].retry_at is None


def test_job_that_fails_at_first_and_then_succeeds(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task(retry=[0, timedelta(0)])
    def work(context: JobContext) -> str:
        if context.attempt < 3:
            raise ValueError("not yet")
        return "at last"

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = wait_for_job(app, work.enqueue())

    assert (job.state, job.attempt, job.result) == (JobState.SUCCEEDED, 3, "at last")
    assert job.error is None
    assert len(store_of(app).jobs.attempts(job.id)) == 2


# -- results


class Opaque:
    pass


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (Opaque(), "of type Opaque, can't be kept as JSON"),
        (float("nan"), "nan or infinity"),
        (CIRCLE, "nested too deeply, or contains itself"),
        ("x" * 70_000, "70,002 bytes of JSON; at most 65,536 are kept"),
        ("\ud800", "lone surrogate"),
    ],
    ids=["opaque", "nan", "circle", "large", "surrogate"],
)
def test_result_that_cant_be_kept_is_told_in_the_console(
    apps: Applications, database_url: str, result: Any, reason: str
) -> None:
    scheduler = Scheduler()
    task = scheduler.task("work")(lambda: result)
    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = wait_for_job(app, task.enqueue())

    assert (job.state, job.result, job.error) == (JobState.SUCCEEDED, None, None)
    (line,) = lines_of(app, job)
    assert line.startswith("The result was not kept: ")
    assert reason in line


@pytest.mark.parametrize("result", [0, "", [1, {"a": None}], 1.5, True, {"ü": "\n"}])
def test_result_is_kept_as_json(apps: Applications, sqlite_url: str, result: Any) -> None:
    scheduler = Scheduler()
    task = scheduler.task("work")(lambda: result)
    app = apps.make(scheduler, sqlite_url)
    apps.start(app)

    assert wait_for_job(app, task.enqueue()).result == json.loads(json.dumps(result))


# -- what changed since the job was written


def test_stored_arguments_that_no_longer_fit_fail_the_job(
    apps: Applications, database_url: str
) -> None:
    old, new = Scheduler(), Scheduler()

    @old.task("work", retry=0)
    def before(number: int) -> None: ...

    @new.task("work", retry=0)
    def after(number: int, name: str) -> None: ...

    apps.make(old, database_url, name="old")
    app = apps.make(new, database_url, name="new")
    apps.start(app)
    job = wait_for_job(app, before.enqueue(5))

    assert job.state is JobState.FAILED
    assert job.error == "ArgumentError: work() misses a value for parameter 'name'"


@pytest.mark.parametrize("options", ["{", '{"retry": "nonsense"}', "[]", '{"timeout": "soon"}'])
def test_options_that_cant_be_read_harm_only_their_job(
    apps: Applications, sqlite_url: str, options: str
) -> None:
    scheduler = Scheduler()
    fail = scheduler.task("fail", retry=0)(raises(ValueError("no")))
    task = scheduler.task("well")(lambda: "well")
    app = apps.make(scheduler, sqlite_url, workers=1)
    job = fail.enqueue()
    database = store_of(app).database
    with database.connect() as connection:
        connection.execute(sa.update(database.tables.job).values(options=options))
    apps.start(app)

    assert wait_for_job(app, job).state is JobState.FAILED
    assert wait_for_job(app, task.enqueue()).result == "well"


def test_workers_run_at_the_same_time(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    together = threading.Barrier(4)

    @scheduler.task(retry=0)
    def work() -> None:
        together.wait(10)

    app = apps.make(scheduler, database_url, workers=4)
    apps.start(app)
    jobs = [work.enqueue() for _ in range(4)]

    assert {job.state for job in wait_for_all(app, jobs)} == {JobState.SUCCEEDED}
