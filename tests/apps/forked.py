"""Jobs that fork, in a server of this process's own; prints how each child left.

Called with the database's address.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import sys
import time
from functools import partial
from typing import Any

from flask import Flask

from flask_recurring import JobContext, Scheduler
from tests.waiting import wait_for

scheduler = Scheduler()
PARENT = os.getpid()


def end_of(child: int) -> int | str:
    """Its exit code; it is ended if it stays."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "it stays"


@scheduler.task("returns", retry=0)
def returns() -> Any:
    child = os.fork()
    return end_of(child) if child else "the child's result"


@scheduler.task("raises", retry=0)
def raises() -> Any:
    if child := os.fork():
        return end_of(child)
    raise ValueError("of the child")


@scheduler.task("exits", retry=0)
def exits(code: Any) -> Any:
    if child := os.fork():
        return end_of(child)
    sys.exit(code)


@scheduler.task("awaits", retry=0)
async def awaits() -> Any:
    child = os.fork()
    return end_of(child) if child else None


@scheduler.task("writes", retry=0)
def writes(context: JobContext) -> Any:
    if child := os.fork():
        return end_of(child)
    for number in range(1000):
        context.write_line("from the child", number)
        logging.getLogger("child").warning("from the child")
    return print("the child has written")


def square(number: int, answers: Any) -> None:
    answers.put(number * number)


@scheduler.task("multiplies", retry=0)
def multiplies() -> Any:
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    process = fork.Process(target=square, args=(7, answers))
    process.start()
    answer = answers.get(timeout=10)
    process.join(10)
    return [answer, process.exitcode]


def main(url: str) -> None:
    logging.getLogger("child").addHandler(logging.NullHandler())
    app = Flask("shop")
    app.config.update(RECURRING_DATABASE_URL=url, RECURRING_WORKERS=2)
    scheduler.init_app(app)
    app.teardown_appcontext(told)
    server = scheduler.binding.start_server()
    wait_for(server.ready.is_set)
    store = scheduler.binding.store
    with app.app_context():
        for name, args in CALLS:
            job = scheduler.enqueue(name, *args)
            done = wait_for(partial(finished, job.id), timeout=20)
            lines = store.console.lines(job.id, 1)
            shown = [name, *args, done.state, done.result, done.attempt, len(lines)]
            print(json.dumps(shown), flush=True)
    server.stop()


def finished(job_id: int) -> Any:
    job = scheduler.get_job(job_id)
    return job if job is not None and job.state.finished else None


def told(error: BaseException | None) -> None:
    if os.getpid() != PARENT:
        print("the child tears the application's context down", flush=True)


CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("returns", ()),
    ("raises", ()),
    ("exits", (7,)),
    ("exits", (None,)),
    ("exits", ("a reason",)),
    ("awaits", ()),
    ("writes", ()),
    ("multiplies", ()),
    ("returns", ()),
]

if __name__ == "__main__":
    main(sys.argv[1])
