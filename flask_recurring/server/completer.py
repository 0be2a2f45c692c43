"""Writes how runs ended, and what they wrote to their consoles, in batches.

A batch is written when enough has come together, when a worker has nothing to do (so that a job
that runs alone is marked done at once), or after a moment. While the database doesn't answer, what
is to be written is kept and tried again: an end that was written already is recognised by its claim
and changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable

from ..store import Entry, Link, Store, Tally
from ..store.completion import Outcome, Setback, Success
from .backoff import Backoff, logger
from .stock import Stock

ENOUGH = 100
"""Ends that are worth a statement of their own."""

LARGEST = 1000
"""Ends that one statement writes at most."""

LINGER = 0.02
"""Seconds that an end waits for others while all workers are busy."""

CONSOLE_LINGER = 0.25
"""Seconds that console lines wait for others."""

CONSOLE_ENOUGH = 50
CONSOLE_LARGEST = 5000

COUNT_INTERVAL = 1.0
"""Seconds between two additions to the counts by minute."""


class Completer:
    """Collects from the workers, writes on a thread and a connection of its own."""

    def __init__(
        self, store: Store, link: Link, stock: Stock, server_id: Callable[[], int]
    ) -> None:
        self._store = store
        self._link = link
        self._stock = stock
        self._server_id = server_id
        self._successes: list[Success] = []
        self._setbacks: list[Setback] = []
        self._entries: list[Entry] = []
        self._something = threading.Event()
        self._enough = threading.Event()
        self._written = threading.Condition()
        self._stopping = False
        self._counts: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0, 0.0, 0.0])
        self._counted_at = time.monotonic()
        self._console_since = 0.0
        self._doubtful = 0
        """Ends that were sent, of which it isn't known whether they were written."""
        self._backoff = Backoff("Writing how jobs ended")

    # -- from the workers

    def succeeded(self, run: Success) -> None:
        """Take the end of a run that succeeded."""
        self._successes.append(run)
        self._poke(len(self._successes))

    def set_back(self, run: Setback) -> None:
        """Take the end of a run that did not."""
        self._setbacks.append(run)
        self._poke(len(self._setbacks))

    def write(self, entry: Entry) -> None:
        """Take a console row."""
        self._entries.append(entry)
        count = len(self._entries)
        if count == 1:
            self._console_since = entry.moment
            self._something.set()
        elif count == CONSOLE_ENOUGH:
            self._enough.set()
            self._something.set()

    def _poke(self, count: int) -> None:
        if count == 1:
            self._something.set()
        # An empty inbox means that a worker has nothing to do: nobody is served by waiting. To set
        # an event takes a lock, also when it is set.
        if (count >= ENOUGH or self._stock.inbox.empty()) and not self._enough.is_set():
            self._enough.set()

    # -- the thread

    def run(self) -> None:
        """Write until ``stop`` was called and everything is written."""
        while not (self._stopping and not self._pending()):
            try:
                self._step()
            except Exception as error:
                pause = self._backoff.failed(error)
                self._link.close()
                time.sleep(pause)
            else:
                self._backoff.succeeded()
        # Also when the server did not wait for it, since the database was down.
        self._link.close()

    def _step(self) -> None:
        if not self._pending():
            self._something.wait(COUNT_INTERVAL if self._counts else None)
        self._something.clear()
        if not (self._successes or self._setbacks):
            # Only lines: they may wait longer.
            age = time.monotonic() - self._console_since
            if self._entries and len(self._entries) < CONSOLE_ENOUGH and not self._stopping:
                self._something.wait(max(0.0, CONSOLE_LINGER - age))
        if (self._successes or self._setbacks) and not self._stopping:
            self._enough.wait(LINGER)
        self._enough.clear()
        self._write_batch()

    def _write_batch(self) -> None:
        # The ends first: whatever a run wrote is in the entries before its end is here.
        successes = self._successes[:LARGEST]
        setbacks = self._setbacks[:LARGEST]
        entries = self._entries[:CONSOLE_LARGEST]
        if len(entries) < len(self._entries):
            # All lines before any end: with more lines than one transaction should hold, the ends
            # wait for the next.
            successes, setbacks = [], []
        tallies = self._due_counts()
        if not (successes or setbacks or entries or tallies):
            return
        # If this fails, it may have been committed all the same.
        doubtful = self._doubtful
        self._doubtful = max(doubtful, len(successes) + len(setbacks))
        with self._link.use() as connection:
            accepted = self._store.database.driver.settle(
                connection, successes, setbacks, entries, tallies, self._server_id()
            )
        del self._successes[: len(successes)]
        del self._setbacks[: len(setbacks)]
        del self._entries[: len(entries)]
        self._stock.written([(run.id, run.claim) for run in successes])
        self._stock.written([(run.id, run.claim) for run in setbacks])
        if tallies:
            self._counts.clear()
            self._counted_at = time.monotonic()
        self._doubtful = 0
        refused = len(successes) - accepted.successes + len(setbacks) - len(accepted.setbacks)
        if 0 < refused <= doubtful:
            logger.info("%d ends were written already; the reply had been lost.", refused)
        elif refused:
            logger.warning(
                "%d jobs had been given to another server before their end was written here; "
                "what the other one writes stands.",
                refused,
            )
        self._count(successes, setbacks)
        with self._written:
            self._written.notify_all()

    def _count(self, successes: list[Success], setbacks: list[Setback]) -> None:
        for success in successes:
            count = self._counts[success.task]
            count[0] += 1
            count[3] += success.finished - success.started
            count[4] += success.waited
        for setback in setbacks:
            if setback.outcome is Outcome.FAILED:
                count = self._counts[setback.task]
                count[1 if setback.retry_in is None else 2] += 1
                count[3] += setback.finished - setback.started
                count[4] += setback.waited

    def _due_counts(self) -> list[Tally]:
        if not self._counts:
            return []
        if not self._stopping and time.monotonic() - self._counted_at < COUNT_INTERVAL:
            return []
        return [
            Tally(task, int(count[0]), int(count[1]), int(count[2]), count[3], count[4])
            for task, count in self._counts.items()
        ]

    def _pending(self) -> bool:
        return bool(self._successes or self._setbacks or self._entries) or (
            self._stopping and bool(self._counts)
        )

    # -- from the supervisor

    def flush(self, timeout: float) -> bool:
        """Wait until all that has come so far is written; False if it took too long."""
        deadline = time.monotonic() + timeout
        self._something.set()
        self._enough.set()
        with self._written:
            return self._written.wait_for(
                lambda: not (self._successes or self._setbacks or self._entries),
                max(0.0, deadline - time.monotonic()),
            )

    def stop(self) -> None:
        """Write what is there, and end."""
        self._stopping = True
        self._something.set()
        self._enough.set()
