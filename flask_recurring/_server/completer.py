"""Writes how runs ended, and what they wrote to their consoles, in batches.

A batch is written when enough has come together, when a worker has nothing to do (so that a job
that runs alone is marked done at once), or after a moment. While the database doesn't answer, what
is to be written is kept and tried again: an end that was written already is recognised by its claim
and changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from .._log.logger import logger
from .._run.child import Forks
from .._run.console import Console
from .._store import ConsoleRow, DedicatedConnection, ErrorKind, Store, Tally
from .._store.completion import Failure, Success
from .._store.records import Accepted
from .backoff import Backoff
from .batch import Batch, write_apart
from .prefetch_buffer import PrefetchBuffer
from .tallies import INTERVAL as TALLY_INTERVAL
from .tallies import Tallies

ENOUGH = 100
"""Ends that are worth a statement of their own."""

LARGEST = 1000
"""Ends that one statement writes at most."""

LINGER = 0.02
"""Seconds that an end waits for others while all workers are busy."""

CONSOLE_LINGER = 0.25
"""Seconds that console lines wait for others."""

CONSOLE_ENOUGH = 50
"""Consoles with lines that are worth a statement of their own."""

CONSOLE_LARGEST = 1000
CONSOLE_SIZE = 2**22
"""Rows, and characters in them, after which the rest waits for the next transaction."""


class Completer:
    """Collects from the workers, writes on a thread and a connection of its own."""

    def __init__(
        self,
        store: Store,
        dedicated: DedicatedConnection,
        buffer: PrefetchBuffer,
        server_id: Callable[[], int],
    ) -> None:
        self._forks = Forks.count
        self._store = store
        self._dedicated = dedicated
        self._buffer = buffer
        self._server_id = server_id
        self._successes: list[Success] = []
        self._failures: list[Failure] = []
        self._consoles: deque[Console] = deque()
        """Those in which something was written that has not been taken yet."""
        self._entries: list[ConsoleRow] = []
        """Console rows that were taken and are not written yet."""
        self._something = threading.Event()
        self._enough = threading.Event()
        self._written = threading.Condition()
        self._stopping = False
        self._tallies = Tallies()
        self._console_since = 0.0
        self._doubtful = 0
        """Ends that were sent, of which it isn't known whether they were written."""
        self._backoff = Backoff("Writing how jobs ended")

    # -- from the workers

    def succeeded(self, run: Success) -> None:
        """Take the end of a run that succeeded."""
        self._successes.append(run)
        self._poke(len(self._successes))

    def fail(self, run: Failure) -> None:
        """Take the end of a run that did not."""
        self._failures.append(run)
        self._poke(len(self._failures))

    def wrote(self, console: Console, *, much: bool) -> None:
        """Note that something was written in a console."""
        if Forks.count != self._forks:
            return  # A child that a job forked: nobody takes it there, and the locks may be held.
        self._consoles.append(console)
        waiting = len(self._consoles)
        if waiting == 1:
            self._console_since = time.monotonic()
        if much or waiting >= CONSOLE_ENOUGH:
            self._console_since = 0.0  # long enough ago
        if not self._something.is_set():
            self._something.set()

    def _poke(self, count: int) -> None:
        # To set an event takes a lock, also when it is set.
        if not self._something.is_set():
            self._something.set()
        # An empty work queue means that a worker has nothing to do: nobody is served by waiting.
        if (count >= ENOUGH or not self._buffer.work_queue) and not self._enough.is_set():
            self._enough.set()

    # -- the thread

    def run(self) -> None:
        """Write until ``stop`` was called and everything is written."""
        while not (self._stopping and not self._pending()):
            try:
                self._step()
            except Exception as error:
                pause = self._backoff.failed(error)
                self._dedicated.close()
                time.sleep(pause)
            else:
                self._backoff.succeeded()
        # Also when the server did not wait for it, since the database was down.
        self._dedicated.close()

    def _step(self) -> None:
        if not self._pending():
            self._something.wait(TALLY_INTERVAL if self._tallies else None)
        self._something.clear()
        while (rest := self._lines_may_wait()) > 0:
            self._something.wait(rest)
            self._something.clear()
        if (self._successes or self._failures) and not self._stopping:
            self._enough.wait(LINGER)
        self._enough.clear()
        self._write_batch()

    def _lines_may_wait(self) -> float:
        """Seconds that there is still time, when nothing but lines is to be written."""
        if self._successes or self._failures or self._entries or self._stopping:
            return 0.0
        if not self._consoles:
            return 0.0
        return CONSOLE_LINGER - (time.monotonic() - self._console_since)

    def _write_batch(self) -> None:
        # The ends first: whatever a run wrote is in its console before its end is here.
        successes = self._successes[:LARGEST]
        failures = self._failures[:LARGEST]
        self._take_consoles()
        tallies = self._tallies.all() if self._stopping or self._tallies.due else []
        rows = len(self._entries)
        while (count := self._rows_at_once(rows)) < rows:
            # More than one transaction should hold.
            self._complete([], [], self._entries[:count], [])
            rows -= count
        self._complete(successes, failures, self._entries[:rows], tallies)
        with self._written:
            self._written.notify_all()

    def _complete(
        self,
        successes: list[Success],
        failures: list[Failure],
        entries: list[ConsoleRow],
        tallies: list[Tally],
    ) -> None:
        if not (successes or failures or entries or tallies):
            return
        # If this fails, it may have been committed all the same.
        doubtful = self._doubtful
        self._doubtful = max(doubtful, len(successes) + len(failures))
        batch = Batch(successes, failures, entries, tallies)
        accepted = self._write(batch)
        if isinstance(accepted, Exception):
            accepted = write_apart(batch, accepted, self._write)
        # Let go of first: what is written twice does no harm, what is held for ever takes a place.
        self._buffer.written(
            {(run.id, run.claim) for some in (successes, failures) for run in some}
        )
        del self._successes[: len(successes)]
        del self._failures[: len(failures)]
        del self._entries[: len(entries)]
        if tallies:
            self._tallies.written()
        if successes or failures:
            self._doubtful = 0
        refused = len(successes) - accepted.successes + len(failures) - len(accepted.failures)
        if 0 < refused <= doubtful:
            logger.info("%d ends were written already; the reply had been lost.", refused)
        elif refused:
            logger.warning(
                "%d jobs had been given to another server before their end was written here; "
                "what the other one writes stands.",
                refused,
            )
        self._tallies.add(successes, failures)

    def _write(self, batch: Batch) -> Accepted | Exception:
        """Write it; returned is the error by which the database refuses a value in it for good."""
        with self._dedicated.use() as connection:
            try:
                return self._store.database.driver.complete(connection, *batch, self._server_id())
            except Exception as error:
                if ErrorKind.of(error) is not ErrorKind.DATA:
                    raise
                # The connection is as good as before: its transaction was rolled back.
                return error

    def _take_consoles(self) -> None:
        # As many as there are now: those that are written in meanwhile come again.
        for _ in range(len(self._consoles)):
            # In one of the two at any moment, so that nobody thinks that all is written.
            self._entries += self._consoles[0].take()
            self._consoles.popleft()

    def _rows_at_once(self, rows: int) -> int:
        """How many of the first so many console rows one transaction may write."""
        rows = min(rows, CONSOLE_LARGEST)
        size = 0
        for count, entry in enumerate(self._entries[:rows]):
            if size > CONSOLE_SIZE:
                return count
            size += len(entry.text) + len(entry.more or "")
        return rows

    def _pending(self) -> bool:
        return self._unwritten() or (self._stopping and bool(self._tallies))

    def _unwritten(self) -> bool:
        return bool(self._successes or self._failures or self._consoles or self._entries)

    # -- from the supervisor

    def flush(self, timeout: float) -> bool:
        """Wait until all that has come so far is written; False if it took too long."""
        deadline = time.monotonic() + timeout
        self._console_since = 0.0
        self._something.set()
        self._enough.set()
        with self._written:
            return self._written.wait_for(
                lambda: not self._unwritten(), max(0.0, deadline - time.monotonic())
            )

    def stop(self) -> None:
        """Write what is there, and end."""
        self._stopping = True
        self._something.set()
        self._enough.set()
