"""What is wrapped around a run: in its order, once for each run, and part of the run."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, NoReturn

import pytest
from flask import Flask, current_app

from flask_recurring import JobCancelled, JobContext, JobState, Scheduler, current_job
from flask_recurring._run.context import terminal_context
from flask_recurring._run.middleware import CallNext, Middleware, compose
from flask_recurring._server.workload import Workload
from tests.applications import Applications, binding_of, lines_of, store_of, wait_for_job


def start(
    apps: Applications, app: Flask, monkeypatch: pytest.MonkeyPatch, *middlewares: Middleware
) -> None:
    """Start the application's server with these middlewares inside of its own one."""
    binding = binding_of(app)
    given = binding._workload()
    workload = Workload(given.tasks, [*given.middlewares, *middlewares])
    monkeypatch.setattr(binding, "_workload", lambda: workload)
    apps.start(app)


# -- several as one


def named(name: str, seen: list[str]) -> Middleware:
    def middleware(context: JobContext, call_next: CallNext) -> Any:
        seen.append(f"{name} before {context.task}")
        result = call_next()
        seen.append(f"{name} after")
        return f"{name}({result})"

    return middleware


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_first_is_the_outermost(count: int) -> None:
    seen: list[str] = []
    names = "abcde"[:count]
    around = compose([named(name, seen) for name in names])
    result = around(terminal_context("work"), lambda: "done")

    assert result == "".join(f"{name}(" for name in names) + "done" + ")" * count
    before = [f"{name} before work" for name in names]
    assert seen == before + [f"{name} after" for name in reversed(names)]


def test_one_alone_is_called_as_it_is() -> None:
    middleware = named("a", [])
    assert compose([middleware]) is middleware


# -- around a run


def test_it_has_the_application_the_context_and_the_console(
    apps: Applications, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler()
    contexts: list[Any] = []

    @scheduler.task("work")
    def work(context: JobContext) -> str:
        contexts.append((context, current_app._get_current_object()))  # type: ignore[attr-defined]
        context.write_line("during")
        return "done"

    def middleware(context: JobContext, call_next: CallNext) -> Any:
        contexts.append((context, current_app._get_current_object()))  # type: ignore[attr-defined]
        assert current_job.job_id == context.job_id
        context.write_line("before")
        result = call_next()
        logging.getLogger("shop").warning("after")
        return [result]

    app = apps.make(scheduler, sqlite_url)
    start(apps, app, monkeypatch, middleware)
    job = wait_for_job(app, work.enqueue())

    assert (job.state, job.result) == (JobState.SUCCEEDED, ["done"])
    assert contexts[0] == contexts[1]
    assert contexts[0][1] is app
    assert lines_of(app, job) == ["before", "during", "after"]


ERRORS = {
    "error": ValueError("no"),
    "exit": SystemExit(3),
    "end of a generator": GeneratorExit(),
    "interrupt": KeyboardInterrupt(),
    "wish to stop": JobCancelled("I want to"),
}


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_it_raises_is_how_the_run_failed(
    apps: Applications, database_url: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    scheduler = Scheduler()
    for name in ERRORS:
        scheduler.task(name, retry=0)(lambda: None)
    well = scheduler.task("well")(lambda: "well")

    def middleware(context: JobContext, call_next: CallNext) -> Any:
        error = ERRORS.get(context.task)
        if when == "before" and error is not None:
            raise error
        result = call_next()
        if error is not None:
            raise error
        return result

    app = apps.make(scheduler, database_url, workers=1)
    start(apps, app, monkeypatch, middleware)
    for name, error in ERRORS.items():
        job = wait_for_job(app, scheduler.enqueue(name))
        assert job.state is JobState.FAILED
        (attempt,) = store_of(app).jobs.attempts(job.id)
        assert (attempt.error_type, attempt.message) == (type(error).__name__, str(error))
        assert attempt.traceback is not None
        assert attempt.traceback.splitlines()[1].endswith("in middleware")
    assert wait_for_job(app, well.enqueue()).result == "well"


def test_it_may_answer_for_the_function(
    apps: Applications, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler()

    @scheduler.task("fails", retry=0)
    def fails() -> NoReturn:
        raise LookupError("nothing there")

    def middleware(context: JobContext, call_next: CallNext) -> Any:
        try:
            return call_next()
        except LookupError as error:
            return f"without: {error}"

    app = apps.make(scheduler, sqlite_url)
    start(apps, app, monkeypatch, middleware)
    job = wait_for_job(app, fails.enqueue())

    assert (job.state, job.result) == (JobState.SUCCEEDED, "without: nothing there")


def test_run_that_was_asked_to_stop_is_cut_short_whatever_it_makes_of_that(
    apps: Applications, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler()

    @scheduler.task("work")
    def work(context: JobContext) -> None:
        context.wait(30)

    def middleware(context: JobContext, call_next: CallNext) -> Any:
        try:
            return call_next()
        except JobCancelled:
            return "as if nothing had been"

    app = apps.make(scheduler, sqlite_url)
    start(apps, app, monkeypatch, middleware)
    job = work.enqueue()
    wait_for_job(app, job, JobState.PROCESSING)
    scheduler.delete(job.id)

    done = wait_for_job(app, job)
    assert (done.state, done.result) == (JobState.DELETED, None)
    (attempt,) = store_of(app).jobs.attempts(job.id)
    assert attempt.outcome == "Cancelled"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes don't fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_that_the_function_forks_never_comes_back_to_it(
    apps: Applications, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler()
    reader, writer = os.pipe()

    @scheduler.task("work", retry=0)
    def work() -> int:
        child = os.fork()
        if child == 0:
            return 0
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    def middleware(context: JobContext, call_next: CallNext) -> Any:
        try:
            raise ValueError("not the function's own")
        except ValueError:
            result = call_next()
        os.write(writer, b".")
        return result

    app = apps.make(scheduler, sqlite_url)
    start(apps, app, monkeypatch, middleware)
    job = wait_for_job(app, work.enqueue())
    os.close(writer)
    with os.fdopen(reader, "rb") as came_back:
        assert came_back.read() == b"."
    assert (job.state, job.result) == (JobState.SUCCEEDED, 0)


def test_async_task_runs_inside_of_it(
    apps: Applications, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler()
    seen: list[str] = []

    @scheduler.task("work")
    async def work() -> str:
        seen.append("during")
        return sys.platform

    app = apps.make(scheduler, sqlite_url)
    start(apps, app, monkeypatch, named("a", seen))
    assert wait_for_job(app, work.enqueue()).result == f"a({sys.platform})"
    assert seen == ["a before work", "during", "a after"]
