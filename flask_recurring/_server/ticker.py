"""Turns due times into jobs.

There is no leader: every server wakes when something is due, and the database decides who gets
which row. A server ticks only for tasks that it knows; the others' are for those who can run them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from .._log.logger import logger
from .._random import rng
from .._recurring.policy import Overlap
from .._recurring.schedule import Schedule, read_schedule
from .._store import Notification, Store, Topic
from .._store.records import TickWrite
from .._store.recurring import ActiveRuns, DueRow
from .clock import Clock
from .misfire import SHOWN, all_due, single
from .overlap import decide

BATCH = 350
"""Rows ticked in one transaction. Few enough that several hosts share a full second."""

ENOUGH = 2_500
"""Entries that one transaction writes: a row that has missed very many is the last in it."""

LEAST_SHOWN = 5
"""Missed ticks of each row that are written one by one, however many rows catch up at once."""

LONGEST_SLEEP = 15.0
"""Seconds: a change whose notification was lost is found after this time."""

OTHERS_TURN = 0.02
"""Seconds to wait when what is due is being ticked by somebody else."""


class Ticker:
    """See ``periodic_loop.PeriodicTask``."""

    name = "Ticking"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        tasks: Callable[[], Sequence[str]],
        notify: Callable[[Notification], None] | None,
        promote: Callable[[], None] | None = None,
    ) -> None:
        self.next_at = 0.0
        self._due_at = 0.0
        self._waited_for_others = False
        # Left to others from then on, lest one bad row keep all the good ones from ticking.
        self._unreadable: set[str] = set()
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._notify = notify
        self._promote = promote

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
            ticked, more = self._tick(connection, tasks)
        else:
            ticked, more = 0, False
            self._unreadable.clear()  # it may have been mended
        self._due_at = math.inf
        if more:
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
                pause = OTHERS_TURN * rng.uniform(0.5, 1.5)
            self._waited_for_others = pause <= 0
            self._due_at = moment + pause
        self.next_at = min(self.next_at, moment + min(pause, LONGEST_SLEEP))

    def _tick(self, connection: sa.Connection, tasks: Sequence[str]) -> tuple[int, bool]:
        """Tick what is due: how many rows, and whether there are more."""
        recurring = self._store.recurring
        with self._store.database.driver.transaction(connection):
            rows = recurring.lock_due(connection, tasks, BATCH, self._unreadable)
            due = self._due(rows)
            asked = self._mind_overlap(connection, rows, due)
            ticks = [tick for one in due.values() for tick in one]
            if ticks:
                recurring.write_ticks(connection, ticks)
        if self._notify is not None:
            for queue, priority in {(tick.queue, tick.priority) for tick in ticks}:
                self._notify(Notification(Topic.TICK, queue, priority))
            if asked:
                self._notify(Notification(Topic.CANCEL))
        if self._promote is not None and any(tick.awaiting for tick in ticks):
            self._promote()  # what it waits for may have ended since it was looked at
        left = any(row.id not in due and row.id not in self._unreadable for row in rows)
        return len(rows), left or len(rows) == BATCH

    def _due(self, rows: Sequence[DueRow]) -> dict[str, list[TickWrite]]:
        """The ticks, by id, of the rows, or of as many as one transaction should write."""
        due: dict[str, list[TickWrite]] = {}
        late: list[tuple[DueRow, Schedule]] = []
        for row in rows:
            try:
                schedule = read_schedule(row.cron, row.timezone, row.start_at, row.end_at)
                tick = single(row, schedule.next(row.next_at))
            except Exception as error:
                # Others perhaps can.
                logger.error("The recurring job %r can't be ticked by this host: %s", row.id, error)
                self._unreadable.add(row.id)
                continue
            if tick is None:
                late.append((row, schedule))
            else:
                due[row.id] = [tick]
        written = len(due)
        # Very many that catch up at once show less of what they missed.
        shown = min(SHOWN, max(LEAST_SHOWN, ENOUGH // max(len(late), 1)))
        for row, schedule in late:
            if written >= ENOUGH:
                break
            due[row.id] = all_due(row, schedule, shown)
            written += len(due[row.id])
        return due

    def _mind_overlap(
        self, connection: sa.Connection, rows: Sequence[DueRow], due: dict[str, list[TickWrite]]
    ) -> bool:
        """Let the overlap policies decide; True if runs were asked to stop."""
        minding = [row for row in rows if row.id in due and row.overlap != Overlap.ALLOW]
        if not minding:
            return False
        active = self._store.recurring.active(connection, [row.id for row in minding])
        replaced: list[ActiveRuns] = []
        for row in minding:
            ticks = due[row.id] = decide(row.overlap, due[row.id], active[row.id])
            if row.overlap == Overlap.CANCEL and any(tick.outcome == "run" for tick in ticks):
                replaced.append(active[row.id])
        return bool(replaced) and self._store.recurring.replace(connection, replaced)
