"""Nothing that happens around a run, or in a line that is logged, ends a thread of the server."""

from __future__ import annotations

import ctypes
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn

import pytest
from flask import Flask, request

from flask_recurring import Job, JobContext, JobState, Scheduler
from flask_recurring._log.logger import Log
from flask_recurring._server import Server, threads
from tests.applications import (
    Applications,
    binding_of,
    lines_of,
    store_of,
    wait_for_all,
    wait_for_job,
)
from tests.waiting import wait_for

OURS = logging.getLogger("flask_recurring")


def records_of(caplog: pytest.LogCaptureFixture, part: str) -> list[logging.LogRecord]:
    return [
        record
        for record in caplog.records
        if record.name == OURS.name and part in record.getMessage()
    ]


# -- what is said of a failure


def test_failure_that_is_tried_again_is_a_warning_and_the_last_one_an_error(
    apps: Applications, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler()

    @scheduler.task("shop.work", queue="mail", retry=[0, 0])
    def work() -> None:
        raise ValueError("no such\npage \x1b]0;title\x07")

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = wait_for_job(app, work.enqueue())

    assert job.state is JobState.FAILED
    first, second, last = records_of(caplog, f"Job {job.id} (shop.work), attempt ")
    assert [record.levelname for record in (first, second, last)] == ["WARNING", "WARNING", "ERROR"]
    for attempt, record in enumerate((first, second, last), start=1):
        values = record.__dict__
        assert (values["job_id"], values["task"], values["queue"], values["attempt"]) == (
            *(job.id, "shop.work", "mail", attempt),
        )
        assert record.getMessage().startswith(
            rf"Job {job.id} (shop.work), attempt {attempt}: ValueError: no such\npage \x1b]0;title"
        )
        assert record.funcName == "_log", "who logs it is found behind the package's own log"
    for record in (first, last):
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], ValueError)
        shown = logging.Formatter().format(record)
        assert "in work\n" in shown
        assert "\x1b" not in shown
    assert second.exc_info is None, "the same once more"
    (line,) = lines_of(app, job)
    assert line.startswith(f"Job {job.id} (shop.work), attempt 3: ValueError: no such")


def test_error_of_a_run_is_not_kept(
    apps: Applications, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OURS, "propagate", False)  # pytest keeps all records
    scheduler = Scheduler()
    raised: list[weakref.ref[BaseException]] = []

    class Heavy(Exception):
        pass

    @scheduler.task(retry=0)
    def work() -> None:
        raised.append(weakref.ref(error := Heavy("with all that hangs on it")))
        try:
            raise error
        finally:
            del error

    app = apps.make(scheduler, sqlite_url)
    apps.start(app)
    gc.disable()
    try:
        wait_for_job(app, work.enqueue())
        wait_for(lambda: raised[0]() is None, timeout=3)
    finally:
        gc.enable()


# -- lines that can't be logged


def of_the_request(record: logging.LogRecord) -> bool:
    """As many applications have one; no job runs inside a request."""
    record.request_id = request.headers.get("X-Request-ID")
    return True


def is_interrupted(record: logging.LogRecord) -> NoReturn:
    raise KeyboardInterrupt


class Broken(logging.Handler):
    def handle(self, record: logging.LogRecord) -> NoReturn:
        raise RuntimeError("no space left on device")


@contextmanager
def filtered(by: Callable[[logging.LogRecord], bool]) -> Iterator[None]:
    OURS.addFilter(by)
    try:
        yield
    finally:
        OURS.removeFilter(by)


@contextmanager
def handled() -> Iterator[None]:
    handler = Broken()
    OURS.addHandler(handler)
    try:
        yield
    finally:
        OURS.removeHandler(handler)


@pytest.mark.parametrize(
    ("trap", "reason"),
    [
        (lambda: filtered(of_the_request), "RuntimeError: Working outside of request context."),
        (lambda: filtered(is_interrupted), "KeyboardInterrupt: "),
        (handled, "RuntimeError: no space left on device"),
    ],
    ids=["filter", "interrupt", "handler"],
)
def test_log_that_raises_ends_no_thread_and_the_line_is_told_all_the_same(
    apps: Applications,
    sqlite_url: str,
    capfd: pytest.CaptureFixture[str],
    trap: Callable[[], Any],
    reason: str,
) -> None:
    scheduler = Scheduler()

    @scheduler.task(retry=0)
    def fail() -> None:
        raise ValueError("no")

    well = scheduler.task("well")(lambda: "well")
    app = apps.make(scheduler, sqlite_url, workers=1)
    with trap():
        server = apps.start(app)
        before = names_of_threads()
        jobs = [fail.enqueue(), fail.enqueue()]
        assert {job.state for job in wait_for_all(app, jobs)} == {JobState.FAILED}
        assert wait_for_job(app, well.enqueue()).result == "well"
        assert names_of_threads() == before
        binding_of(app).stop_server()

    assert not server.running
    notified = capfd.readouterr().err.splitlines()
    (line,) = [line for line in notified if f"Job {jobs[0].id} (" in line]
    assert "attempt 1: ValueError: no (to log this raised " in line
    assert reason in line


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("recurring-")}


def test_line_comes_through_beside_a_factory_with_a_field_of_the_same_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    factory = logging.getLogRecordFactory()

    def with_task(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        record.__dict__["task"] = "the application's own"
        return record

    logging.setLogRecordFactory(with_task)
    try:
        Log().error("said %s", "it", extra={"task": "ours"})
    finally:
        logging.setLogRecordFactory(factory)

    (record,) = caplog.records
    assert (record.getMessage(), record.__dict__["task"]) == ("said it", "the application's own")


def test_line_that_nobody_can_be_told_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    with handled():
        Log().error("said %s", "it")


# -- ends that can't be told


class Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__name__":
            raise KeyboardInterrupt
        return super().__getattribute__(name)


class Unnamed(Exception, metaclass=Nameless):
    pass


class Unspeakable(Exception):
    def __str__(self) -> NoReturn:
        raise RuntimeError("no words")


class Tricky(datetime):
    """The encoder asks for its parts."""

    error: type[BaseException]

    @property
    def year(self) -> NoReturn:
        raise self.error


class Interrupting(Tricky):
    error = KeyboardInterrupt


class Silencing(Tricky):
    error = Unspeakable


def raise_unnamed() -> None:
    raise Unnamed


def test_end_that_cant_be_told_is_a_failure_with_a_reason(
    apps: Applications, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler()

    @scheduler.task(retry=0)
    def return_tricky() -> Any:
        return Interrupting(2026, 1, 1)

    @scheduler.task()
    def return_unspeakable() -> Any:
        return Silencing(2026, 1, 1)

    unnamed = scheduler.task(retry=0)(raise_unnamed)
    well = scheduler.task("well")(lambda: "well")
    app = apps.make(scheduler, database_url, workers=1)
    apps.start(app)
    interrupted, unspoken, nameless, last = wait_for_all(
        app,
        [return_tricky.enqueue(), return_unspeakable.enqueue(), unnamed.enqueue(), well.enqueue()],
    )

    assert interrupted.state is JobState.FAILED
    assert interrupted.error == "KeyboardInterrupt: the end of the run could not be told"
    (attempt,) = store_of(app).jobs.attempts(interrupted.id)
    assert "KeyboardInterrupt" in (attempt.traceback or "")
    assert records_of(caplog, "KeyboardInterrupt: the end of the run could not be told")[0].exc_info
    # What it did is done, only its result can't be kept.
    assert (unspoken.state, unspoken.result) == (JobState.SUCCEEDED, None)
    assert lines_of(app, unspoken)[0].startswith("The result was not kept: ")
    assert nameless.state is JobState.FAILED
    assert nameless.error == "(an exception whose name can't be shown)"
    assert last.result == "well"


# -- exceptions from outside, and threads that die


PARTS = [
    *("worker-0", "claimer", "completer", "control"),
    *("heartbeat", "maintenance", "listener", "supervisor"),
]


class Struck(BaseException):
    pass


def strike(name: str) -> threading.Thread:
    """Raise an exception in the thread, as soon as it runs Python code again."""
    (thread,) = [one for one in threading.enumerate() if one.name == f"recurring-{name}"]
    assert thread.ident is not None
    struck = ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(Struck)
    )
    assert struck == 1
    return thread


@pytest.fixture
def shop(apps: Applications, sqlite_url: str) -> tuple[Flask, Server, Callable[[], Job]]:
    """An application with one worker; calling the last runs a job."""
    scheduler = Scheduler()
    work = scheduler.task("work")(lambda: "done")
    app = apps.make(scheduler, sqlite_url, workers=1)
    server = apps.start(app)
    return app, server, lambda: wait_for_job(app, work.enqueue())


@pytest.mark.parametrize("part", PARTS)
def test_thread_goes_on_after_an_exception_from_outside(
    shop: tuple[Flask, Server, Callable[[], Job]], caplog: pytest.LogCaptureFixture, part: str
) -> None:
    _, _, run = shop
    thread = strike(part)

    # It comes through when the thread wakes, and what wakes it is work.
    wait_for(lambda: run() and records_of(caplog, f"The {part} broke off by Struck."))

    assert thread.is_alive()
    assert {run().state for _ in range(3)} == {JobState.SUCCEEDED}
    (record,) = records_of(caplog, f"The {part} broke off")
    assert record.levelname == "ERROR"
    assert record.exc_info is not None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("part", PARTS[:-1])
def test_thread_that_died_is_replaced_and_reported_once(
    shop: tuple[Flask, Server, Callable[[], Job]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    app, _, run = shop
    # What the thread does after an exception raises, too.
    monkeypatch.setattr(threads, "PAUSE", -1.0)
    thread = strike(part)
    scheduler: Scheduler = app.extensions["recurring"]

    wait_for(lambda: scheduler.enqueue("work") and not thread.is_alive())
    monkeypatch.undo()

    wait_for(lambda: records_of(caplog, f"The thread of the {part} died."))
    assert {run().state for _ in range(3)} == {JobState.SUCCEEDED}
    (record,) = records_of(caplog, "died")
    assert record.levelname == "ERROR"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_job_whose_thread_died_at_its_end_has_failed(
    apps: Applications, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler()

    @scheduler.task(retry=0)
    def work(context: JobContext) -> None:
        raise ValueError("no")

    app = apps.make(scheduler, sqlite_url, workers=1)
    server = apps.start(app)
    completer = server._components.completer
    take, strikes = completer.fail, [Struck(), Struck()]

    def strikes_twice(run: Any) -> None:
        if strikes:
            raise strikes.pop()
        take(run)

    monkeypatch.setattr(threads, "PAUSE", -1.0)
    monkeypatch.setattr(completer, "fail", strikes_twice)
    first = work.enqueue()
    failed = wait_for_job(app, first)

    assert failed.state is JobState.FAILED
    assert failed.error == (
        "RuntimeError: the end of the run could not be told: the thread that ran it broke off"
    )
    again = wait_for_job(app, work.enqueue())
    assert again.error == "ValueError: no"
