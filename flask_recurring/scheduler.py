"""The Scheduler: what an application imports, decorates with and calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Never, Unpack, cast, overload
from weakref import WeakSet

from flask import Flask, current_app, has_app_context

from ._checks import refuse_unknown, validate_id
from ._dashboard import create_blueprint
from ._dashboard.access import Hook
from ._flask.binding import BINDING, EXTENSION, Binding
from ._flask.cli import commands
from ._flask.client import SchedulerClient
from ._flask.decorator import Declaration, Decorator, refuse_bare
from ._flask.forks import protect
from ._flask.registry import Registry
from ._flask.serving import start, watch
from ._flask.settings import Settings
from ._recurring.definition import Definition
from ._recurring.options import RecurringOptions
from .errors import ConfigurationError
from .retry import Retry
from .task import Task, TaskOptions

if TYPE_CHECKING:
    from flask_sqlalchemy import SQLAlchemy


class Scheduler(SchedulerClient):
    """Recurring and background jobs for Flask applications.

    It is made without an application, filled by decorators, and set up on one or more applications
    by ``init_app``. The state of an application is kept by the application. Calls use the current
    application, or the only one that there is.

    :param app: set up on this application at once.
    :param db: a Flask-SQLAlchemy object whose engine to use, unless a setting names a database.
    :param connection_factory: returns a new psycopg connection, in place of an address.
    """

    def __init__(
        self,
        app: Flask | None = None,
        db: SQLAlchemy | None = None,
        *,
        connection_factory: Callable[[], Any] | None = None,
    ) -> None:
        self._registry = Registry(self._definitions_changed)
        self._connection_factory = connection_factory
        # Weakly, because a binding belongs to its application.
        self._bindings: WeakSet[Binding] = WeakSet()
        if app is not None:
            self.init_app(app, db)

    def init_app(
        self,
        app: Flask,
        db: SQLAlchemy | None = None,
        *,
        connection_factory: Callable[[], Any] | None = None,
    ) -> None:
        """Set the scheduler up on an application: settings, dashboard, commands and server.

        Does not touch the database. Raises ``ConfigurationError`` for a setting that is wrong or
        unknown, and if a scheduler is set up on the application already.
        """
        if EXTENSION in app.extensions:
            raise ConfigurationError(f"a scheduler is set up on {app.name!r} already")
        config = dict(app.config)
        factory = connection_factory or self._connection_factory
        if factory is not None:
            config["RECURRING_CONNECTION_FACTORY"] = factory
        settings = Settings.from_config(config)
        binding = Binding(self._registry, app, settings, db)
        self._bindings.add(binding)
        protect(binding)
        app.extensions[EXTENSION] = self
        app.extensions[BINDING] = binding
        app.cli.add_command(commands)
        if settings.dashboard_enabled:
            app.register_blueprint(create_blueprint(binding))
        if settings.worker_enabled:
            watch(binding)

    # -- this process

    def start(self, app: Flask | None = None) -> bool:
        """Start this process's server, which takes and runs jobs; again does no harm.

        Where the web server is known (see the documentation, under Deployment) it starts by itself.
        Elsewhere call this once the process serves: in a hook that runs after a fork, or in an
        ASGI lifespan. It returns at once, also while the database is down.

        :param app: by default the current application, or the only one that there is.
        :return: False where no server may run: with ``RECURRING_WORKER_ENABLED`` off, in a test,
            and in a process that will fork those that serve.
        :raises ConfigurationError: the jobs' database is in memory.
        """
        return start(self.binding if app is None else self.binding_of(app))

    def stop(self, app: Flask | None = None) -> None:
        """Stop this process's server in order, if it runs: take no more jobs, let runs end, give
        back what does not end within ``RECURRING_SHUTDOWN_TIMEOUT``.

        It blocks until then. When the process ends by itself this is done anyway.

        :param app: by default the current application, or the only one that there is.
        """
        (self.binding if app is None else self.binding_of(app)).stop_server()

    # -- declaring

    def task(
        self,
        name: str | None = None,
        *,
        queue: str = "default",
        priority: int = 0,
        retry: Retry = None,
        timeout: timedelta | float | None = None,
        **unknown: Never,
    ) -> Decorator:
        """Register a function as a task.

        :param name: what the database knows it by; ``module.function`` by default. Servers run only
            jobs whose task they know, so a name that is changed leaves its waiting jobs behind.
        :param queue: where its jobs wait.
        :param priority: smaller runs first, within a queue.
        :param retry: how often a failed run is tried again: a number, False, or a ``RetryPolicy``.
        :param timeout: seconds or a timedelta after which a run is asked to stop.
        """
        refuse_unknown("@scheduler.task", unknown, ["name", *TaskOptions.__slots__])
        refuse_bare("task", name, "")
        if name is not None:
            validate_id(name, "task name")
        defaults = TaskOptions(queue=queue, priority=priority, retry=retry, timeout=timeout)

        def decorate(function: Any) -> Task[..., Any]:
            return self._registry.register(function, self, name, defaults)

        return cast(Decorator, decorate)

    @overload
    def recurring(
        self, id: str, cron: str, *, name: str | None = None, **options: Unpack[RecurringOptions]
    ) -> Decorator: ...
    @overload
    def recurring(
        self,
        id: str,
        *,
        every: timedelta,
        name: str | None = None,
        **options: Unpack[RecurringOptions],
    ) -> Decorator: ...
    def recurring(
        self,
        id: str,
        cron: str | None = None,
        *,
        every: timedelta | None = None,
        name: str | None = None,
        **options: Unpack[RecurringOptions],
    ) -> Decorator:
        """Register a function as a task, if it isn't one, and give it a schedule.

        It may stand several times on a function, with different ids. A function that is a task
        already keeps the task's options; those given here are for the jobs of this schedule.

        :param id: names the recurring job in the database. The same id in two applications is one
            recurring job, and the one written last counts.
        :param cron: five fields, six with the seconds first, or a macro such as ``@hourly``.
        :param every: an interval in place of ``cron``, counted from 1970 in UTC.
        :param name: the task's name, if the function becomes a task here; see ``task``.
        :param options: ``args`` and ``kwargs`` for the function; ``timezone``, ``start``, ``end``
            and ``allow_never`` for the schedule; ``queue``, ``priority``, ``retry`` and ``timeout``
            for its jobs; and the policies ``misfire``, ``misfire_limit``, ``misfire_grace``,
            ``overlap``, ``jitter`` and ``keep``.
        """
        refuse_bare("recurring", id, '"an-id", "*/5 * * * *"')
        declaration = Declaration(
            "@scheduler.recurring", id, cron, every, options, ["id", "cron", "every", "name"]
        )
        defaults = declaration.defaults()

        def decorate(function: Any) -> Task[..., Any]:
            if isinstance(function, Task):
                task = function
                self._registry.check_own(task)
            else:
                task = self._registry.register(function, self, name, defaults)
            self._registry.declare(task, declaration.of(task))
            return task

        return cast(Decorator, decorate)

    def authorization(self, hook: Hook) -> Hook:
        """Let the function decide who may do what in the dashboard; the lowest answer counts."""
        self._registry.hooks.append(hook)
        return hook

    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]:
        """The registered tasks by their names."""
        return self._registry.tasks

    def definitions(self) -> list[Definition]:
        """The recurring jobs that the code declares."""
        return self._registry.definitions()

    def _definitions_changed(self) -> None:
        for binding in list(self._bindings):
            if binding.server is not None:
                binding.server.definitions_changed()

    # -- applications

    def binding_of(self, app: Flask) -> Binding:
        """What an application has of this scheduler."""
        binding: Binding | None = app.extensions.get(BINDING)
        if binding is None or binding.registry is not self._registry:
            raise ConfigurationError(
                f"this scheduler is not set up on {app.name!r}: call scheduler.init_app(app)"
            )
        return binding

    @property
    def binding(self) -> Binding:
        """The binding of the current application, or of the only one that there is."""
        if has_app_context():
            return self.binding_of(current_app._get_current_object())  # type: ignore[attr-defined]
        bindings = list(self._bindings)
        if len(bindings) == 1:
            return bindings[0]
        if not bindings:
            raise ConfigurationError(
                "the scheduler is not set up on an application: call scheduler.init_app(app)"
            )
        raise ConfigurationError(
            "the scheduler is set up on several applications: say which one is meant by "
            "'with app.app_context():'"
        )

    def include_name(
        self, name: str | None, type_: str, parent_names: Mapping[Any, str | None]
    ) -> bool:
        """False for this package's own tables: Alembic's option ``include_name``.

        Without it, ``flask db migrate`` takes the tables for some that were removed from the
        models, and drops them. In a function of your own, ask this one first.
        """
        if type_ != "table" or name is None:
            return True
        return not self.binding.store.owns(name, parent_names.get("schema_name"))
