"""What an application's code declares, and how far the database has taken it over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import sqlalchemy as sa

from .._recurring.definition import Definition
from .._store import Store


class Source(Protocol):
    """Where definitions come from: the scheduler, which decorators fill."""

    @property
    def revision(self) -> int:
        """Another number after each declaration."""

    def definitions(self) -> list[Definition]:
        """All of them."""


class Declarations:
    """The declarations of one application, for its calls and for its server.

    :param store: gives the store, with its tables there.
    :param application: the application's name.
    """

    def __init__(self, source: Source, store: Callable[[], Store], application: str) -> None:
        self.application = application
        self.refused: frozenset[str] = frozenset()
        """Ids in whose place servers with another version of the code declare something else."""
        self._source = source
        self._store = store
        self._written: int | None = None
        self._lock = threading.Lock()

    def all(self) -> Sequence[Definition]:
        """What the code declares now."""
        return self._source.definitions()

    def write(self) -> None:
        """Write them for a process that may have no server, unless it was done already."""
        revision = self._source.revision
        if self._written == revision:
            return
        with self._lock:
            if self._written != revision:
                self._store().recurring.declare(self.all())
                self._written = revision

    def take_charge(self, connection: sa.Connection) -> None:
        """Write them for a server: from now on they go when no server declares them any more."""
        with self._lock:
            revision = self._source.revision
            recurring = self._store().recurring
            declared = recurring.declare(self.all(), self.application, connection)
            self._written = revision
            self.refused = declared.refused

    def insist(self, connection: sa.Connection, ids: Collection[str]) -> frozenset[str]:
        """Write those with these ids once more; returns which of them are refused still."""
        again = [definition for definition in self.all() if definition.id in ids]
        declared = self._store().recurring.declare(again, self.application, connection)
        with self._lock:
            self.refused = (self.refused - frozenset(ids)) | declared.refused
        return declared.refused

    def after_fork(self) -> None:
        """Make a lock of its own in a child process."""
        self._lock = threading.Lock()
