"""The control thread: beats, ticks, rescues and cleans up, one thing after another.

All of it happens on one connection that carries no jobs, so a claim or a completion that hangs does
not look like death from outside. Each duty says when it wants to be done next.
"""

from __future__ import annotations

import threading
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
    """When to do it, on the monotonic clock. Anybody may lower it and call ``Control.nudge``."""

    def perform(self, connection: sa.Connection) -> None:
        """Do it, and set ``next_at``."""


class Control:
    """Performs duties when they are due."""

    def __init__(self, link: Link, duties: Sequence[Duty]) -> None:
        self._link = link
        self._duties = duties
        self._nudged = threading.Event()
        self._stopping = False
        self._backoffs = {duty.name: Backoff(duty.name) for duty in duties}

    def nudge(self) -> None:
        """Look at once which duty is due."""
        self._nudged.set()

    def stop(self) -> None:
        """Perform nothing more."""
        self._stopping = True
        self._nudged.set()

    def run(self) -> None:
        """Perform duties until ``stop`` is called."""
        while not self._stopping:
            duty = min(self._duties, key=lambda duty: duty.next_at)
            pause = duty.next_at - time.monotonic()
            if pause > 0:
                self._nudged.wait(pause)
                self._nudged.clear()
                continue
            self._perform(duty)
        self._link.close()

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
