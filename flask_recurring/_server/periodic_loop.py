"""Performs periodic tasks, each when it is due, one after another.

A server has three such loops, each with a thread and a connection of its own, by what a task that
hangs would hold up:

* **heartbeat**: writes the heartbeat, and rescues the jobs of dead servers. Nothing may make this
  server seem dead, or keep it from seeing that another one is.
* **control**: ticks and promotes, which must happen on the second.
* **maintenance**: declares and cleans up, which may take its time. Its connection is closed while
  there is nothing to do.

None of their connections carries jobs. A task that fails is tried again after a pause of its own.
The others of its loop go on meanwhile, on the same connection if that is in order.
"""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Sequence
from typing import Protocol

import sqlalchemy as sa

from .._store import DedicatedConnection
from .backoff import Backoff


class PeriodicTask(Protocol):
    """Something to be done again and again."""

    name: str
    next_at: float
    """When to do it, on the monotonic clock."""

    def perform(self, connection: sa.Connection) -> None:
        """Do it, and set ``next_at``."""


class PeriodicLoop:
    """Performs tasks when they are due, until it is stopped.

    :param patience: seconds that a task may take before its connection is cut off; by default a
        little more than a statement may.
    :param idle: seconds without a task after which the connection is closed.
    """

    def __init__(
        self,
        dedicated: DedicatedConnection,
        tasks: Sequence[PeriodicTask],
        *,
        patience: float | None = None,
        idle: float = math.inf,
    ) -> None:
        self._dedicated = dedicated
        self._tasks = tasks
        self._patience = patience
        self._idle = idle
        self._early: queue.SimpleQueue[PeriodicTask | None] = queue.SimpleQueue()
        self._stopping = False
        self._backoffs = {task.name: Backoff(task.name) for task in tasks}

    def hasten(self, task: PeriodicTask) -> None:
        """Perform the task as soon as possible. Called from any thread."""
        self._early.put(task)

    def stop(self) -> None:
        """Perform nothing more."""
        self._stopping = True
        self._early.put(None)

    def run(self) -> None:
        """Perform tasks until ``stop`` is called."""
        while not self._stopping:
            task = min(self._tasks, key=lambda task: task.next_at)
            if task.next_at - time.monotonic() > self._idle:
                self._dedicated.close()
            if task.next_at <= time.monotonic() or self._undisturbed(task.next_at):
                self._perform(task)
        self._dedicated.close()

    def _undisturbed(self, until: float) -> bool:
        """Wait until then. False if tasks were hastened meanwhile: they are due at once."""
        try:
            tasks = {self._early.get(timeout=until - time.monotonic())}
        except (queue.Empty, ValueError):  # ValueError: the time has passed already
            return True
        while not self._early.empty():
            tasks.add(self._early.get())
        for task in tasks:
            if task is not None:
                task.next_at = 0.0
        return False

    def _perform(self, task: PeriodicTask) -> None:
        backoff = self._backoffs[task.name]
        try:
            with self._dedicated.use(patience=self._patience) as connection:
                task.perform(connection)
        except Exception as error:
            task.next_at = time.monotonic() + backoff.failed(error)
        else:
            backoff.succeeded()
