"""The Scheduler: what an application imports, decorates with and calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from operator import index
from typing import (
    TYPE_CHECKING,
    Any,
    Never,
    ParamSpec,
    SupportsIndex,
    TypeVar,
    Unpack,
    cast,
    overload,
)
from weakref import WeakSet

from flask import Flask, current_app, has_app_context

from ._checks import refuse_unknown, validate_id
from ._dashboard import create_blueprint
from ._dashboard.access import Hook
from ._flask.binding import BINDING, EXTENSION, Binding
from ._flask.cli import commands
from ._flask.commands import Commands
from ._flask.decorator import Declaration, Decorator, refuse_bare
from ._flask.forks import protect
from ._flask.registry import Registry
from ._flask.serving import start, watch
from ._flask.settings import Settings
from ._recurring.definition import Definition
from ._recurring.options import Overrides, RecurringOptions
from ._recurring.recurring_job import RecurringJob
from ._store import APPLICATION, NewJob
from .errors import ConfigurationError
from .job import FINISHED, Job, JobState
from .retry import Retry
from .task import Call, Task, TaskOptions

if TYPE_CHECKING:
    from flask_sqlalchemy import SQLAlchemy

    from .task import SomeSession

P = ParamSpec("P")
R = TypeVar("R")


class Scheduler:
    """Recurring and background jobs for Flask applications.

    Made unbound, filled by decorators, and set up on one or more applications by ``init_app``. It
    keeps no state about an application in itself: that is looked up by the current application, or
    by the only one there is.

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
        # Each is kept by its application, and is gone with it.
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

        May stand several times on a function, with different ids. On a function that is a task
        already, the task's options stay and those given here are for this schedule's jobs.

        :param id: names the recurring job in the database. The same id in two applications is one
            recurring job, and the one written last stands.
        :param cron: five fields, six with the seconds first, or a macro such as ``@hourly``.
        :param every: in place of ``cron`` an interval, counted from 1970 in UTC.
        :param name: what the database knows the function by if it becomes a task here.
        :param options: what the function is called with (``args``, ``kwargs``), the zone that the
            expression is meant in (``timezone``, its IANA name or a ``ZoneInfo``), aware datetimes
            between which it is due (``start``, ``end``), ``allow_never`` to take an expression that
            never fires, those of a task (``queue``, ``priority``, ``retry``, ``timeout``), and the
            policies ``misfire``, ``misfire_limit``, ``misfire_grace``, ``overlap``, ``jitter`` and
            ``keep``.
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

    # -- jobs

    def enqueue(self, task: Task[P, Any] | str, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        """Run a task in the background, given as itself or by its name."""
        return self._task(task).enqueue(*args, **kwargs)

    def enqueue_many(self, calls: Iterable[Call], session: SomeSession | None = None) -> list[int]:
        """Enqueue any number of calls, all or none; returns their jobs' ids in order.

        :param calls: any iterable of ``task.call(…)``. It is read to its end before anything is
            written, and may enqueue and use the database itself. What is more than some megabytes
            waits in a temporary file.
        :param session: enqueue within this session's transaction.
        """
        return self.binding.write_many((_new(call) for call in calls), session)

    def get_job(self, id: int) -> Job | None:
        """The job as it stands, or None if there is none with this id (any more)."""
        return self.binding.ready_store().jobs.get(_job_id(id))

    def requeue(self, id: int, *, actor: str = APPLICATION) -> bool:
        """Let a finished or scheduled job run now. False if there is nothing to do.

        A run of a recurring job awaits the end of another that is going, where its ``overlap``
        keeps them apart.

        :param actor: who wants it, for the audit; so in all that follows.
        """
        return bool(self._commands(actor).requeue([_job_id(id)]))

    def delete(self, id: int, *, actor: str = APPLICATION) -> bool:
        """Mark a job Deleted; one that runs is asked to stop. False if there is nothing to do."""
        return bool(self._commands(actor).delete([_job_id(id)]))

    def purge(
        self,
        older_than: timedelta,
        states: JobState | Iterable[JobState] = FINISHED,
        *,
        actor: str = APPLICATION,
    ) -> int:
        """Delete jobs that finished longer ago, with their attempts and consoles.

        :param older_than: age since the job finished.
        :param states: which of the final states; all of them by default.
        :param actor: who wants it, for the audit.
        :return: how many jobs were deleted.
        """
        return self._commands(actor).purge(older_than, states)

    def write(self, job: NewJob, session: SomeSession | None) -> Job:
        """Write a job that a task made. Used by ``Task``."""
        return self.binding.write(job, session)

    def _task(self, task: Task[P, R] | str) -> Task[P, R]:
        if isinstance(task, Task):
            return task
        return cast("Task[P, R]", self._registry.find(task))

    # -- recurring jobs

    @overload
    def add_or_update(
        self,
        id: str,
        task: Task[..., Any] | str,
        cron: str,
        **options: Unpack[RecurringOptions],
    ) -> None: ...
    @overload
    def add_or_update(
        self,
        id: str,
        task: Task[..., Any] | str,
        *,
        every: timedelta,
        **options: Unpack[RecurringOptions],
    ) -> None: ...
    def add_or_update(
        self,
        id: str,
        task: Task[..., Any] | str,
        cron: str | None = None,
        *,
        every: timedelta | None = None,
        actor: str = APPLICATION,
        **options: Unpack[RecurringOptions],
    ) -> None:
        """Create a recurring job at run time, or change the one with this id.

        Takes what ``recurring`` takes. With nothing changed it writes nothing. Another schedule
        sets the next tick from now on. What an operator overrode stays so.

        :param actor: who wants it, for the audit.
        """
        declaration = Declaration(
            "scheduler.add_or_update", id, cron, every, options, ["id", "task", "cron", "every"]
        )
        self._commands(actor).save(declaration.of(self._task(task)))

    def remove(self, id: str, *, actor: str = APPLICATION) -> None:
        """Delete a recurring job; its jobs stay. ``UnknownRecurringJobError`` if there is none."""
        self._commands(actor).remove(id)

    def trigger(self, id: str, *, actor: str = APPLICATION) -> Job:
        """Run a recurring job now, beside its schedule, and return the new job.

        Under the overlap policies ``skip`` and ``queue`` it awaits the end of a run that is going.

        :param actor: who wants it, for the history and the audit.
        """
        return self._commands(actor).trigger(id)

    def pause(self, id: str, *, actor: str = APPLICATION) -> None:
        """Let a recurring job have no ticks until it is resumed."""
        self._commands(actor).pause(id)

    def resume(self, id: str, *, actor: str = APPLICATION) -> None:
        """Let a paused recurring job tick again.

        What it missed meanwhile is treated as its ``misfire`` policy says.
        """
        self._commands(actor).resume(id)

    def override(self, id: str, *, actor: str = APPLICATION, **options: Unpack[Overrides]) -> None:
        """Let these options count for a recurring job, whatever the code declares.

        They stay through deployments, until ``reset``. Another schedule sets the next tick from now
        on. What was changed is written to the audit.

        :param actor: who wants it.
        :param options: ``cron`` or ``every``, ``timezone``, ``start``, ``end``, ``queue``,
            ``priority``, ``retry``, ``timeout``, ``paused``, and the policies.
        """
        self._commands(actor).override(id, options)

    def reset(
        self, id: str, options: Iterable[str] | None = None, *, actor: str = APPLICATION
    ) -> None:
        """Let what the code declares count again, in place of what was overridden.

        :param options: names of the options to reset; all of them by default, ``paused`` included.
        """
        self._commands(actor).reset(id, options)

    def get_recurring(self, id: str) -> RecurringJob | None:
        """The recurring job with this id, None if there is none."""
        return self.binding.recurring().get(id)

    def list_recurring(self) -> list[RecurringJob]:
        """All recurring jobs in the database, in the order of their ids."""
        return self.binding.recurring().all()

    # -- queues

    def pause_queue(self, name: str, *, actor: str = APPLICATION) -> None:
        """Let servers take nothing more from a queue. What runs goes on to its end."""
        self._commands(actor).pause_queue(name)

    def resume_queue(self, name: str, *, actor: str = APPLICATION) -> None:
        """Let servers take from the queue again."""
        self._commands(actor).resume_queue(name)

    def _commands(self, actor: str) -> Commands:
        return Commands(self.binding, actor)


def _job_id(id: int) -> int:
    if isinstance(id, bool) or not isinstance(id, SupportsIndex):
        raise TypeError(f"a job's id is a whole number, as job.id has it, not {id!r}")
    return index(id)


def _new(call: Call) -> NewJob:
    if not isinstance(call, Call):
        raise ConfigurationError(f"enqueue_many takes calls made by task.call(…), not {call!r}")
    return call.new
