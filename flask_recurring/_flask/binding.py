"""What one Flask application has of a scheduler: settings, store, and at times a server."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app

from .._run.context import JobContext
from .._run.middleware import CallNext
from .._server import Server, ServerConfig, Workload
from .._server.declarations import Declarations
from .._store import (
    Database,
    NewJob,
    Recurring,
    Store,
    begin_at_savepoints,
    in_memory,
)
from ..errors import ConfigurationError
from ..job import Job
from ..version import VERSION
from .engine import engine_of
from .registry import Registry
from .settings import Settings

if TYPE_CHECKING:
    from flask_sqlalchemy import SQLAlchemy

    from .._store.session import SessionJobs
    from ..task import SomeSession

EXTENSION = "recurring"
"""Key of the scheduler in ``app.extensions``."""

BINDING = "recurring.binding"
"""Key of its binding, likewise."""

RELOAD_GRACE = 0.1
"""Seconds that runs have to end, and then to notice that they are to stop, when the development
server reloads. At Ctrl-C its parent kills this process after a quarter of a second."""


class Binding:
    """One scheduler on one application."""

    def __init__(
        self, registry: Registry, app: Flask, settings: Settings, db: SQLAlchemy | None
    ) -> None:
        self.registry = registry
        self.app = app
        self.settings = settings
        self.server: Server | None = None
        self._stopping: Server | None = None
        self._db = db
        self._store: Store | None = None
        self._lock = threading.RLock()
        self.declarations = Declarations(registry, self.ready_store, app.name)
        if "sqlalchemy" in app.extensions:
            # Now, so that no savepoint comes before.
            with app.app_context():
                for engine in getattr(app.extensions["sqlalchemy"], "engines", {}).values():
                    begin_at_savepoints(engine)

    # -- the store

    @property
    def store(self) -> Store:
        """The application's store. Made at first use, when all extensions are set up."""
        if self._store is None:
            with self._lock:
                if self._store is None:
                    self._store = self._make_store()
        return self._store

    def ready_store(self) -> Store:
        """The store, with its tables there. Raises ``StoreUnavailable``."""
        store = self.store
        store.prepare()
        return store

    def _make_store(self) -> Store:
        settings = self.settings
        return Store(
            Database(
                engine_of(self.app, settings, self._db),
                schema=settings.schema,
                bind_key=None if settings.database_url else settings.bind_key,
                statement_timeout=settings.statement_timeout,
            )
        )

    # -- writing jobs

    def write(self, job: NewJob, session: SomeSession | None) -> Job:
        """Write one job: by itself, or within the session's transaction."""
        if session is None:
            return self.ready_store().jobs.insert(job)
        return self._within(session).write(job)

    def write_many(self, jobs: Iterable[NewJob], session: SomeSession | None) -> list[int]:
        """Write any number of jobs, likewise; returns their ids in order."""
        if session is None:
            return self.ready_store().jobs.insert_many(jobs)
        return self._within(session).write_many(jobs)

    def _within(self, session: SomeSession) -> SessionJobs:
        # Who has a session has loaded SQLAlchemy's ORM; for all others that is a long way to go.
        from .._store.session import SessionJobs

        return SessionJobs(self.store.database, self.store.jobs, session)

    # -- definitions

    def define(self) -> None:
        """Write the recurring jobs that the code declares, unless it was done already."""
        self.declarations.write()

    def recurring(self) -> Recurring:
        """The recurring jobs, with those there that the code declares."""
        self.define()
        return self.ready_store().recurring

    # -- the server

    def start_server(self, dashboard: str | None = None) -> Server:
        """Start the server of this process, unless it runs already.

        :param dashboard: where this process shows it, for the line that tells of the start.
        """
        with self._lock:
            if self.server is None:
                if in_memory(self.store.database.engine.url):
                    raise ConfigurationError(
                        "an in-memory SQLite database can't be shared by the threads of a server; "
                        "use a file, or set RECURRING_WORKER_ENABLED to False"
                    )
                self.server = Server(
                    self.store, self._workload(), self._config(dashboard), self.declarations
                )
                self.server.start()
            return self.server

    def stop_server(self, grace: float | None = None) -> None:
        """Stop the server of this process, if it runs."""
        with self._lock:
            server, self.server = self.server, None
            self._stopping = server
        if server is not None:
            try:
                if grace is None and os.environ.get("WERKZEUG_RUN_MAIN") == "true":
                    server.stop(min(RELOAD_GRACE, self.settings.shutdown_timeout), RELOAD_GRACE / 2)
                else:
                    server.stop(grace)
            except (KeyboardInterrupt, SystemExit):
                # Told a second time: give back at once what runs.
                server.hurry()
                server.stop(0.0)

    def hurry_server(self) -> None:
        """Cut the time that a stop under way gives to runs. Called by another thread."""
        if self._stopping is not None:
            self._stopping.hurry()

    def _workload(self) -> Workload:
        return Workload(self.registry.tasks, [self._in_app_context])

    def _in_app_context(self, context: JobContext, call_next: CallNext) -> Any:
        """The outermost middleware: each run has an application context of its own."""
        with self.app.app_context():
            return call_next()

    def _config(self, dashboard: str | None) -> ServerConfig:
        settings = self.settings
        return ServerConfig(
            application=self.app.name,
            version=VERSION,
            threads=settings.workers,
            queues=settings.queues,
            name=settings.server_name,
            dashboard=dashboard if settings.dashboard_enabled else None,
            poll_interval=settings.poll_interval,
            shutdown_timeout=settings.shutdown_timeout,
            heartbeat_interval=settings.heartbeat_interval,
            server_timeout=settings.server_timeout,
            console_max_lines=settings.console_max_lines,
            console_max_bytes=settings.console_max_bytes,
            retention=settings.retention,
        )

    def before_fork(self) -> None:
        """Let no write be under way in this process, until ``after_fork_in_parent``."""
        if self._store is not None:
            self._store.database.driver.before_fork()

    def after_fork_in_parent(self) -> None:
        """Let other threads write again."""
        if self._store is not None:
            self._store.database.driver.after_fork_in_parent()

    def after_fork(self) -> None:
        """Forget, in a child process, what belongs to the parent."""
        self._lock = threading.RLock()
        self.registry.after_fork()
        self.declarations.after_fork()
        self.server = self._stopping = None
        if self._store is not None:
            self._store.after_fork()


def current_binding() -> Binding:
    """The binding of the current application."""
    binding: Binding | None = current_app.extensions.get(BINDING)
    if binding is None:
        raise ConfigurationError(
            "no scheduler is set up on this application: call scheduler.init_app(app)"
        )
    return binding
