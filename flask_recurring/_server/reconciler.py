"""Sees to it that what the code declares and what the database holds go together.

- What was refused, because servers with a newer version of the code were live, is declared again
  until they are gone.
- What was marked as orphaned, while this server could not write heartbeats, is taken back.
- What no live server has declared for some heartbeats is marked as orphaned. That changes only when
  a server comes or goes, so only then is it looked for.
- Once, after the start: next ticks are set right that older rules of time zones gave.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa

from .._log.logger import logger
from .._random import rng
from .._store import Store
from .declarations import Declarations

GRACE = 3.0
"""Heartbeat intervals for which something must be undeclared."""

PAUSE = 2.0
"""Heartbeat intervals between two checks while something is undecided."""

CALM = 15.0
"""Heartbeat intervals between two checks while nothing is."""

SLICE = 500
"""Rows that are looked at in one go."""


class Reconciler:
    """See ``periodic_loop.PeriodicTask``."""

    name = "Declaring"

    def __init__(
        self,
        store: Store,
        declarations: Declarations,
        *,
        tasks: Callable[[], Sequence[str]],
        interval: float,
    ) -> None:
        self.next_at = 0.0
        self._store = store
        self._declarations = declarations
        self._tasks = tasks
        self._interval = interval
        self._recheck_after: str | None = ""
        self._in_use: frozenset[str] | None = None
        self._declared: Mapping[str, set[str]] = {}
        self._undeclared_since: dict[str, float] = {}
        self._reported: frozenset[str] = frozenset()

    def perform(self, connection: sa.Connection) -> None:
        """Look once."""
        self._take_back(connection)
        self._find_orphans(connection)
        if self._recheck_after is not None:
            self._recheck_after = self._store.recurring.recheck(
                connection, self._tasks(), self._recheck_after, SLICE
            )
        self.next_at = time.monotonic() + self._pause()

    def _pause(self) -> float:
        if self._recheck_after is not None:
            return 0.02  # one slice at a time, so that nothing else is kept waiting
        unsettled = self._declarations.refused or self._undeclared_since
        intervals = PAUSE if unsettled else CALM
        return intervals * self._interval * rng.uniform(0.9, 1.1)

    def _take_back(self, connection: sa.Connection) -> None:
        ids = set(self._declarations.refused)
        marked = self._store.recurring.orphaned(connection)
        if marked:
            ids |= {one.id for one in self._declarations.all()}.intersection(marked)
        refused = self._declarations.insist(connection, ids) if ids else frozenset()
        if refused - self._reported:
            logger.info(
                "Servers with another version of the code declare %s otherwise: their version "
                "stands until they stop.",
                ", ".join(map(repr, sorted(refused)[:5])) + (" …" if len(refused) > 5 else ""),
            )
        self._reported = refused

    def _find_orphans(self, connection: sa.Connection) -> None:
        manifests = self._store.manifests
        in_use = manifests.in_use(connection)
        if in_use == self._in_use and not self._undeclared_since:
            return
        if in_use != self._in_use:
            self._declared = manifests.read(connection, in_use)
            self._in_use = in_use
        recurring = self._store.recurring
        now = time.monotonic()
        undeclared = recurring.undeclared(
            connection, self._tasks(), self._declarations.application, self._declared
        )
        self._undeclared_since = {id: self._undeclared_since.get(id, now) for id in undeclared}
        grace = self._interval * GRACE
        over = [id for id, since in self._undeclared_since.items() if now - since >= grace]
        for id in recurring.orphan(connection, over) if over else ():
            self._undeclared_since.pop(id, None)
            logger.warning(
                "No server's code declares the recurring job %r any more: it has no ticks until "
                "one does, or until it is removed.",
                id,
            )
