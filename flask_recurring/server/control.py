"""The control thread: beats, ticks, rescues and cleans up, one thing after another.

All of it happens on one connection that carries no jobs, so a claim or a completion that hangs does
not look like death from outside. Each duty says when it wants to be done next.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from typing import Protocol

import sqlalchemy as sa

from ..store import Link
from .backoff import Backoff


class Duty(Protocol):
    """Something to be done again and again."""

    name: str
    next_at: float
    """When to do it, on the monotonic clock."""

    def perform(self, connection: sa.Connection) -> None:
        """Do it, and set ``next_at``."""


class Control:
    """Performs duties when they are due."""

    def __init__(self, link: Link, duties: Sequence[Duty]) -> None:
        self._link = link
        self._duties = duties
        self._early: queue.SimpleQueue[Duty | None] = queue.SimpleQueue()
        self._stopping = False
        self._backoffs = {duty.name: Backoff(duty.name) for duty in duties}

    def hasten(self, duty: Duty) -> None:
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
            if duty.next_at <= time.monotonic() or self._undisturbed(duty.next_at):
                self._perform(duty)
        self._link.close()

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

    def _perform(self, duty: Duty) -> None:
        backoff = self._backoffs[duty.name]
        try:
            with self._link.use() as connection:
                duty.perform(connection)
        except Exception as error:
            duty.next_at = time.monotonic() + backoff.failed(error)
            self._link.close()
        else:
            backoff.succeeded()
