"""Applications that fork: ``python -m tests.apps.forking DATABASE-URL``.

Each scenario uses the jobs' database, forks, and uses it on all sides, and tells how many of the
children failed. What is wrong is on standard error.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_recurring import Scheduler
from flask_recurring._flask.binding import BINDING, Binding

ROUNDS = 10

scheduler = Scheduler()


@scheduler.task("quick", retry=0)
def quick() -> None:
    """Does nothing."""


@scheduler.task("forking", retry=0)
def forking() -> int:
    """Enqueues, in a child and here at once."""
    return forked(use)


def create_app(url: str, *, shared: bool = False) -> Flask:
    """An application without a server, that writes to the database while it is made.

    :param shared: let the jobs be in Flask-SQLAlchemy's database.
    """
    app = Flask(__name__)
    app.config["RECURRING_WORKER_ENABLED"] = False
    app.config["SQLALCHEMY_DATABASE_URI" if shared else "RECURRING_DATABASE_URL"] = url
    db = SQLAlchemy() if shared else None
    if db is not None:
        db.init_app(app)
    scheduler.init_app(app, db)
    with app.app_context():
        scheduler.add_or_update("hourly", quick, "@hourly")
        quick.enqueue()

    @app.get("/connection")
    def connection() -> list[int]:
        """This process, and the database's process on the other end of its connection."""
        quick.enqueue()
        with scheduler.binding.store.database.connect() as connection:
            answer = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        return [os.getpid(), answer]

    return app


def use() -> None:
    """Enqueue often, each time over the connection that lies in the pool."""
    for _ in range(ROUNDS):
        job = quick.enqueue()
        found = scheduler.get_job(job.id)
        assert found is not None
        assert (found.id, found.task) == (job.id, "quick")


def forked(call: Callable[[], None], processes: int = 1) -> int:
    """Make the call in new processes and in this one at once; returns how many processes failed."""
    children = []
    for _ in range(processes):
        child = os.fork()
        if child == 0:
            leave(call)
        children.append(child)
    call()
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


def leave(call: Callable[[], None]) -> None:
    """Make the call, and end this process."""
    code = 1
    try:
        call()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


# -- scenarios


def preloaded(url: str) -> int:
    """As gunicorn's master with --preload: loaded once, used in several children."""
    with create_app(url).app_context():
        return forked(use, processes=3)


def shared(url: str) -> int:
    """Likewise, with the jobs in Flask-SQLAlchemy's database."""
    with create_app(url, shared=True).app_context():
        return forked(use, processes=3)


def job(url: str) -> int:
    """A job forks, and child and parent enqueue."""
    app = create_app(url)
    with app.app_context():
        scheduler.binding.start_server()
        made = forking.enqueue()
        while not (found := scheduler.get_job(made.id)) or not found.state.finished:
            threading.Event().wait(0.02)
        scheduler.binding.stop_server()
        assert found.state.value == "Succeeded", found.error
        assert found.result == 0, "the child failed"
    return 0


def view(url: str) -> int:
    """A view starts a process of multiprocessing, by fork, and enqueues beside it."""
    app = create_app(url, shared=True)

    @app.get("/")
    def index() -> str:
        quick.enqueue()
        child = multiprocessing.get_context("fork").Process(target=within)
        child.start()
        use()
        child.join()
        return str(child.exitcode)

    def within() -> None:
        with app.app_context():
            use()

    return int(app.test_client().get("/").text)


def borrowed(url: str) -> int:
    """A connection of the pool is in use, here and by another thread, while the process forks."""
    with create_app(url).app_context():
        database = scheduler.binding.store.database
        taken, over = threading.Event(), threading.Event()

        def hold() -> None:
            with database.connect() as connection:
                connection.exec_driver_sql("SELECT 1")
                taken.set()
                over.wait()
                connection.exec_driver_sql("SELECT 1")

        other = threading.Thread(target=hold)
        other.start()
        taken.wait()
        with database.connect() as connection:
            failed = forked(use)
            assert connection.exec_driver_sql("SELECT 41 + 1").scalar_one() == 42
        over.set()
        other.join()
        use()
        return failed


def locked(url: str) -> int:
    """No lock, event or condition of the parent is left, which its other threads may hold."""
    app = create_app(url)
    with app.app_context():
        scheduler.binding.start_server().ready.wait()
        binding: Binding = app.extensions[BINDING]
        parent = os.getpid()
        inherited = [lock for holder in holders(binding) for lock in locks(holder)]
        assert inherited, "they are found"

        def look() -> None:
            left = [
                holder
                for holder in holders(binding)
                if any(lock is one for lock in locks(holder) for one in inherited)
            ]
            assert not left, left

        failed = forked(lambda: None if os.getpid() == parent else look())
        scheduler.binding.stop_server()
        return failed


LOCKS: tuple[type, ...] = (type(threading.Lock()), type(threading.RLock()))


def locks(holder: object) -> list[Any]:
    """The locks that an object consists of."""
    return [one for one in gc.get_referents(holder) if isinstance(one, LOCKS)]


def holders(binding: Binding) -> list[object]:
    """The package's objects that can be reached from a binding, and what they consist of."""
    found: dict[int, object] = {}
    pending: list[object] = [binding]
    while pending:
        one = pending.pop()
        if id(one) in found or isinstance(one, type):
            continue
        module = type(one).__module__
        if isinstance(one, dict | list | tuple | set | frozenset) or module.startswith(
            ("flask_recurring", "threading")
        ):
            found[id(one)] = one
            pending += gc.get_referents(one)
        elif hasattr(one, "__self__"):
            pending.append(one.__self__)
    return list(found.values())


if __name__ == "__main__":
    scenarios = [preloaded, shared, view, borrowed, locked]
    if sys.argv[1].startswith("postgresql"):
        # SQLite's library has locks of its own, which a server's threads may hold at that moment.
        scenarios.append(job)
    for scenario in scenarios:
        failed = scenario(sys.argv[1])
        print(f"{scenario.__name__}: {failed} failed", flush=True)
