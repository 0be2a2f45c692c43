"""The calls of an application about jobs, recurring jobs and queues.

They check their arguments and pass on to ``Commands`` with the name of who makes the call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import timedelta
from operator import index
from typing import TYPE_CHECKING, Any, ParamSpec, SupportsIndex, TypeVar, Unpack, cast, overload

from .._recurring.options import Overrides, RecurringOptions
from .._recurring.recurring_job import RecurringJob
from .._store import APPLICATION, NewJob
from ..errors import ConfigurationError
from ..job import FINISHED, Job, JobState
from ..task import Call, Task
from .binding import Binding
from .commands import Commands
from .decorator import Declaration
from .registry import Registry

if TYPE_CHECKING:
    from ..task import SomeSession

P = ParamSpec("P")
R = TypeVar("R")


class SchedulerClient(ABC):
    """What a ``Scheduler`` does at run time, in the application that its binding is for."""

    _registry: Registry

    @property
    @abstractmethod
    def binding(self) -> Binding:
        """The binding of the current application, or of the only one that there is."""

    # -- jobs

    def enqueue(self, task: Task[P, Any] | str, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        """Run a task in the background, given as itself or by its name."""
        return self._task(task).enqueue(*args, **kwargs)

    def enqueue_many(self, calls: Iterable[Call], session: SomeSession | None = None) -> list[int]:
        """Enqueue any number of calls, all or none; returns their jobs' ids in order.

        :param calls: any iterable of ``task.call(…)``. It is read to its end before anything is
            written, and may itself enqueue jobs and use the database. More than some megabytes of
            calls wait in a temporary file.
        :param session: enqueue within this session's transaction.
        """
        return self.binding.write_many((_new(call) for call in calls), session)

    def get_job(self, id: int) -> Job | None:
        """The job as it stands, or None if there is none with this id (any more)."""
        return self.binding.ready_store().jobs.get(_job_id(id))

    def requeue(self, id: int, *, actor: str = APPLICATION) -> bool:
        """Let a finished or scheduled job run now. False if there is nothing to do.

        A run of a recurring job awaits the end of another one if ``overlap`` keeps them apart.

        :param actor: who makes the call, for the audit. The same holds for all calls below.
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

        It takes the options of ``recurring``. If nothing has changed it writes nothing. A new
        schedule computes the next tick from now on. Overrides of an operator stay.
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

        Under the overlap policies ``skip`` and ``queue`` it awaits the end of a run that is active.

        :param actor: who makes the call, for the history and the audit.
        """
        return self._commands(actor).trigger(id)

    def pause(self, id: str, *, actor: str = APPLICATION) -> None:
        """Let a recurring job have no ticks until it is resumed."""
        self._commands(actor).pause(id)

    def resume(self, id: str, *, actor: str = APPLICATION) -> None:
        """Let a paused recurring job tick again.

        Its ``misfire`` policy decides about the ticks that it missed.
        """
        self._commands(actor).resume(id)

    def override(self, id: str, *, actor: str = APPLICATION, **options: Unpack[Overrides]) -> None:
        """Let these options of a recurring job count, whatever the code declares.

        They count until ``reset``, through deployments. A new schedule computes the next tick from
        now on. The audit names what was changed.

        :param options: ``cron`` or ``every``, ``timezone``, ``start``, ``end``, ``queue``,
            ``priority``, ``retry``, ``timeout``, ``paused``, and the policies.
        """
        self._commands(actor).override(id, options)

    def reset(
        self, id: str, options: Iterable[str] | None = None, *, actor: str = APPLICATION
    ) -> None:
        """Let what the code declares count again, in place of overrides.

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
