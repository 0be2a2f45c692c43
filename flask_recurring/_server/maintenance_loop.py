"""What is done again and again: duties, each when it is due, one thing after another.

A server has three such loops, each with a thread and a connection of its own, by what a duty that
hangs would hold up:

* **heartbeat**: beats, and rescues what other servers left behind. Nothing may make this one seem
  dead, or keep it from seeing that another one is.
* **control**: ticks and promotes, which is to happen on the second.
* **maintenance**: declares and cleans up, which may take its time. Its connection is closed while
  there is nothing to do.

None of their connections carries jobs. A duty that fails is tried again after a pause of its own,
and the others of its loop go on meanwhile, on the same connection if that is in order.
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


class MaintenanceLoop:
    """Performs duties when they are due.

    :param patience: seconds that a duty may take before its connection is cut off; by default a
        little more than a statement may.
    :param idle: seconds without a duty for which the connection is not kept open.
    """

    def __init__(
        self,
        dedicated: DedicatedConnection,
        duties: Sequence[PeriodicTask],
        *,
        patience: float | None = None,
        idle: float = math.inf,
    ) -> None:
        self._dedicated = dedicated
        self._duties = duties
        self._patience = patience
        self._idle = idle
        self._early: queue.SimpleQueue[PeriodicTask | None] = queue.SimpleQueue()
        self._stopping = False
        self._backoffs = {duty.name: Backoff(duty.name) for duty in duties}

    def hasten(self, duty: PeriodicTask) -> None:
        """Perform the duty as soon as may be. From any thread."""
        self._early.put(duty)

    def stop(self) -> None:
        """Perform nothing more."""
        self._stopping = True
        self._early.put(None)

    def run(self) -> None:
        """Perform duties until ``stop`` is called."""
        while not self._stopping:
            duty = min(self._duties, key=lambda duty: duty.next_at)
            if duty.next_at - time.monotonic() > self._idle:
                self._dedicated.close()
            if duty.next_at <= time.monotonic() or self._undisturbed(duty.next_at):
                self._perform(duty)
        self._dedicated.close()

    def _undisturbed(self, until: float) -> bool:
        """Wait; whether it went on until then. Duties that are hastened meanwhile come at once."""
        try:
            duties = {self._early.get(timeout=until - time.monotonic())}
        except (queue.Empty, ValueError):  # ValueError: the moment has passed already
            return True
        while not self._early.empty():
            duties.add(self._early.get())
        for duty in duties:
            if duty is not None:
                duty.next_at = 0.0
        return False

    def _perform(self, duty: PeriodicTask) -> None:
        backoff = self._backoffs[duty.name]
        try:
            with self._dedicated.use(patience=self._patience) as connection:
                duty.perform(connection)
        except Exception as error:
            duty.next_at = time.monotonic() + backoff.failed(error)
        else:
            backoff.succeeded()
