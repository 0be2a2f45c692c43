"""Flask applications for tests, and the servers that run their jobs in this process."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa
from flask import Flask

from flask_recurring import Job, JobState, Scheduler
from flask_recurring._flask.binding import BINDING, Binding
from flask_recurring._server import Server
from flask_recurring._store import Store
from tests.waiting import wait_for

if TYPE_CHECKING:
    from flask_sqlalchemy import SQLAlchemy

QUICK: dict[str, Any] = {
    "RECURRING_POLL_INTERVAL": 0.2,
    "RECURRING_HEARTBEAT_INTERVAL": 0.2,
    "RECURRING_SHUTDOWN_TIMEOUT": 1.0,
    "RECURRING_WORKERS": 4,
}
"""Settings with which tests wait less. Servers run when a test starts them, and only then."""

HAIR = timedelta(milliseconds=1)
"""By how much SQLite's times may be wrong: it counts in whole milliseconds."""


class Applications:
    """Makes applications, and closes at the end what they opened.

    :param folder: where their instance folders are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def make(
        self,
        scheduler: Scheduler,
        url: str | None = None,
        *,
        name: str = "shop",
        db: SQLAlchemy | None = None,
        config: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Flask:
        """A new application with the scheduler set up on it.

        :param url: the jobs' database; None leaves it to the other settings.
        :param config: Flask's configuration besides the scheduler's.
        :param settings: the scheduler's, in lower case and without their prefix.
        """
        app = Flask(name, instance_path=str(self._folder / name))
        app.config.update(QUICK, RECURRING_WORKER_ENABLED=False)
        if url is not None:
            app.config["RECURRING_DATABASE_URL"] = url
        app.config.update(config or {})
        app.config.update({f"RECURRING_{key.upper()}": value for key, value in settings.items()})
        if db is not None:
            db.init_app(app)
        scheduler.init_app(app, db)
        self._stack.callback(close, app)
        return app

    def start(self, app: Flask) -> Server:
        """Start the application's server, and wait until it takes jobs."""
        server = binding_of(app).start_server()
        wait_for(server.ready.is_set, message="the server's readiness")
        return server


def close(app: Flask) -> None:
    """Stop the application's server, and close the connections it opened."""
    binding = binding_of(app)
    binding.stop_server()
    if binding._store is not None:
        binding._store.database.close()
        binding._store.database.bare_engine.dispose()
    if "sqlalchemy" in app.extensions:
        with app.app_context():
            for engine in app.extensions["sqlalchemy"].engines.values():
                engine.dispose()


def binding_of(app: Flask) -> Binding:
    binding: Binding = app.extensions[BINDING]
    return binding


def store_of(app: Flask) -> Store:
    """The application's store, with its tables there."""
    return binding_of(app).ready_store()


def job_of(app: Flask, job: Job | int) -> Job:
    """The job as it stands now."""
    found = store_of(app).jobs.get(job if isinstance(job, int) else job.id)
    assert found is not None
    return found


def wait_for_job(app: Flask, job: Job | int, *states: JobState, timeout: float = 10.0) -> Job:
    """Wait until the job is in one of these states, or in any final one if none is given."""

    def reached() -> Job | None:
        found = job_of(app, job)
        return found if found.state in states or (not states and found.state.finished) else None

    found = wait_for(reached, timeout, lambda: f"{states or 'the end'} of {job_of(app, job)}")
    assert found is not None
    return found


def wait_for_all(app: Flask, jobs: Iterable[Job | int], timeout: float = 10.0) -> list[Job]:
    """Wait until all of them are in a final state."""
    return [wait_for_job(app, job, timeout=timeout) for job in jobs]


def lines_of(app: Flask, job: Job | int) -> list[str]:
    """What the job's newest run wrote to its console."""
    found = job_of(app, job)
    return [line.text for line in store_of(app).console.lines(found.id, found.claim)]


def let_run_now(app: Flask, job: Job | int) -> None:
    """Let the wait before a scheduled job's next attempt be over. Unlike a requeue, its attempts
    stay counted."""
    database = store_of(app).database
    table = database.tables.job
    with database.connect() as connection:
        connection.execute(
            sa.update(table)
            .where(table.c.id == (job if isinstance(job, int) else job.id))
            .values(run_at=database.clock(connection))
        )


def servers_ever(app: Flask) -> int:
    """How many servers have ever signed on in the application's database."""
    database = store_of(app).database
    with database.connect() as connection:
        count = connection.scalar(sa.select(sa.func.count()).select_from(database.tables.server))
    return int(count or 0)
