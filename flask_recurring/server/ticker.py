"""Turns due times into jobs.

There is no leader: every server wakes when something is due, and the database decides who gets
which row. A server ticks only for tasks that it knows; the others' are for those who can run them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from ..chance import chance
from ..schedule import read_schedule
from ..store import Hint, Store, Topic
from ..store.driver import Due
from ..store.recurring import DueRow
from .backoff import logger
from .clock import Clock

BATCH = 250
"""Ticks written in one transaction. Small enough that several hosts share a full second."""

LONGEST_SLEEP = 15.0
"""Seconds: a change whose hint was lost is found after this time."""

OTHERS_TURN = 0.02
"""Seconds to wait when what is due is being ticked by somebody else."""


class Ticker:
    """See ``control.Duty``."""

    name = "Ticking"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        tasks: Callable[[], Sequence[str]],
        tell: Callable[[Hint], None] | None,
    ) -> None:
        self.next_at = 0.0
        self._due_at = 0.0
        self._waited_for_others = False
        # Left to others from then on, lest one bad row keep all the good ones from ticking.
        self._unreadable: set[str] = set()
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._tell = tell

    def perform(self, connection: sa.Connection) -> None:
        """Tick all that is due, and sleep until the next."""
        # Whoever lowers it from here on has news that the look below may have come too early for.
        self.next_at = math.inf
        tasks = self._tasks()
        if not tasks:
            self.next_at = min(self.next_at, time.monotonic() + LONGEST_SLEEP)
            return
        # Woken by the clock: what was foreseen is due. Woken by anything else: look what there is.
        if time.monotonic() >= self._due_at:
            ticked = self._tick(connection, tasks)
        else:
            ticked = 0
            self._unreadable.clear()  # it may have been mended
        self._due_at = math.inf
        if ticked == BATCH:
            self.next_at = self._due_at = 0.0
            return
        before = time.monotonic()
        now, nearest = self._store.recurring.nearest(connection, tasks, self._unreadable)
        moment = (before + time.monotonic()) / 2
        self._clock.set(now, moment)
        pause = LONGEST_SLEEP
        if nearest is not None:
            pause = (nearest - now).total_seconds()
            if pause <= 0 and ticked == 0 and self._waited_for_others:
                pause = OTHERS_TURN * chance.uniform(0.5, 1.5)
            self._waited_for_others = pause <= 0
            self._due_at = moment + pause
        self.next_at = min(self.next_at, moment + min(pause, LONGEST_SLEEP))

    def _tick(self, connection: sa.Connection, tasks: Sequence[str]) -> int:
        driver = self._store.database.driver
        with driver.transaction(connection):
            rows = self._store.recurring.lock_due(connection, tasks, BATCH, self._unreadable)
            due = [tick for row in rows if (tick := self._due(row)) is not None]
            if due:
                self._store.recurring.write_ticks(connection, due)
        if self._tell is not None:
            for queue, priority in {(row.queue, row.priority) for row in rows}:
                self._tell(Hint(Topic.TICK, queue, priority))
        return len(rows)

    def _due(self, row: DueRow) -> Due | None:
        """The row's tick; None if this host can't read the row, which others perhaps can."""
        try:
            schedule = read_schedule(row.cron, row.timezone, row.start_at, row.end_at)
            due = schedule.latest(row.next_at, row.now)
            following = schedule.next(due)
        except Exception as error:
            logger.error("The recurring job %r can't be ticked by this host: %s", row.id, error)
            self._unreadable.add(row.id)
            return None
        return Due(
            recurring_id=row.id,
            due=due,
            next_at=following,
            task=row.task,
            arguments=row.arguments,
            queue=row.queue,
            priority=row.priority,
            options=row.options,
        )
