"""What an application's code declares: tasks, recurring jobs, and hooks of the dashboard."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable
from typing import Any

from .._recurring.definition import Definition
from ..errors import ConfigurationError, UnknownTaskError
from ..task import Client, Task, TaskOptions
from .decorator import made_anew, warn_if_passing


class Registry:
    """Filled by the decorators of one scheduler, and read by all applications that it is set up on.

    :param changed: called after each declaration of a recurring job.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.tasks: dict[str, Task[..., Any]] = {}
        self.hooks: list[Callable[..., Any]] = []
        """Those that decide about the dashboard."""
        self.revision = 0
        """Another number after each declaration of a recurring job."""
        self._changed = changed
        self._definitions: dict[str, tuple[Task[..., Any], Definition]] = {}
        self._lock = threading.Lock()

    def register(
        self, function: Any, client: Client, name: str | None, defaults: TaskOptions
    ) -> Task[..., Any]:
        """Make a task of a function. ``ConfigurationError`` if its name is taken."""
        if isinstance(function, Task):
            raise ConfigurationError(
                f"{function.name!r} is a task already; put @scheduler.recurring above "
                "@scheduler.task, not below it"
            )
        task: Task[..., Any] = Task(function, client, name=name, defaults=defaults)
        known = self.tasks.get(task.name)
        if known is None:
            warn_if_passing(task, stacklevel=4)
        elif not made_anew(known, task):
            raise ConfigurationError(
                f"two functions are registered as the task {task.name!r}; give one of them a name"
            )
        # In place: servers that run already hold it, and take its keys in one step.
        self.tasks[task.name] = task
        return task

    def declare(self, task: Task[..., Any], definition: Definition) -> None:
        """Declare a recurring job. ``ConfigurationError`` if its id is declared already."""
        self._check_free(definition.id, task)
        with self._lock:
            self._definitions[definition.id] = (task, definition)
            self.revision += 1
        self._changed()

    def _check_free(self, id: str, task: Task[..., Any]) -> None:
        known = self._definitions.get(id)
        if known is not None and not made_anew(known[0], task):
            raise ConfigurationError(
                f"the recurring job id {id!r} is declared twice in this application"
            )

    def check_own(self, task: Task[..., Any]) -> None:
        """Raise ``ConfigurationError`` if the task was registered elsewhere."""
        if self.tasks.get(task.name) is not task:
            raise ConfigurationError(f"the task {task.name!r} belongs to another scheduler")

    def find(self, name: str) -> Task[..., Any]:
        """The task with this name. ``UnknownTaskError`` if there is none."""
        found = self.tasks.get(name)
        if found is None:
            near = difflib.get_close_matches(str(name), list(self.tasks), n=1)
            raise UnknownTaskError(
                f"no task is registered as {name!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        return found

    def definitions(self) -> list[Definition]:
        """The recurring jobs that the code declares."""
        with self._lock:
            return [definition for _, definition in self._definitions.values()]

    def after_fork(self) -> None:
        """Make a lock of its own in a child process."""
        self._lock = threading.Lock()
