"""How a server stops: in order, so that nothing that it holds is lost or runs twice.

It takes no more jobs and releases those that have not begun. Runs get the grace time to come to
their end; then they are asked to stop, and what still runs a moment later is released. When all
that has ended is written, the server deregisters.
"""

from __future__ import annotations

import threading
import time

from .._log.logger import logger
from .._store import DedicatedConnection, Notification, Topic
from .._store.transitions import Outcome
from .components import Components
from .failure import failure
from .outcome import STOPPING
from .report import Report

CLOSING = 5.0
"""Seconds that each of the last writes may take."""

ABORTED = 1.0
"""Seconds that a thread has to end after its statement was aborted."""

LAST_WORD = 0.5
"""Seconds that a run has by default, after the grace time, to notice that it is to stop."""

PAUSE = 0.02
"""Seconds between two looks whether something still runs."""


class Shutdown:
    """Stops the components of a server that has begun to take jobs."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._hurry = threading.Event()

    def hurry(self) -> None:
        """Cut the grace time."""
        self._hurry.set()

    def run(self, grace: float, last_word: float) -> None:
        """Stop all; returns when that is done.

        :param grace: seconds that runs have to come to their end.
        :param last_word: seconds that they have after it, to notice that they are to stop.
        """
        deadline = time.monotonic() + grace
        components, connections = self._components, self._components.connections
        components.store.unsubscribe(components.receive)
        components.maintenance.stop()
        components.claimer.stop()
        self._join("claimer", connections.claim, CLOSING)
        self._release_unbegun()
        self._end_runs(deadline, last_word)
        components.completer.stop()
        self._join("completer", connections.complete, CLOSING)
        components.control.stop()
        components.heartbeat_loop.stop()
        self._join("maintenance", connections.maintenance, LAST_WORD)
        self._join("control", connections.control, CLOSING)
        self._join("heartbeat", connections.heartbeat, CLOSING)
        # Before the server deregisters: on SQLite it is that write which ends the listener's wait.
        components.listener.stop()
        components.registration.deregister(connections.heartbeat)
        self._join("listener", connections.listen, ABORTED)
        connections.close()
        logger.info("Server %s stopped.", components.registration.name)

    def _release_unbegun(self) -> None:
        """Release what was claimed and not begun. If that fails, other servers do it."""
        buffer, driver = self._components.buffer, self._components.store.database.driver
        jobs = [(job.id, job.claim) for job in buffer.empty()]
        if not jobs:
            return
        try:
            with self._components.connections.claim.use() as connection:
                driver.release(connection, jobs)
                driver.notify(connection, Notification(Topic.ANY))
        except Exception as error:
            logger.warning("%d jobs could not be released: %s", len(jobs), error)
        buffer.written(set(jobs))

    def _end_runs(self, deadline: float, last_word: float) -> None:
        """Wait for what runs, ask it to stop, and release what doesn't."""
        buffer = self._components.buffer
        while buffer.busy and time.monotonic() < deadline:
            if self._hurry.wait(PAUSE):
                break
        buffer.closed = True
        for run in buffer.runs():
            run.context.cancel(STOPPING)
        last = time.monotonic() + last_word
        while buffer.busy and time.monotonic() < last:
            time.sleep(PAUSE)
        # Should one of them still come to its end here, that counts no more.
        for run in buffer.runs():
            self._components.completer.fail(
                failure(run.job, Outcome.RELEASED, run.started, Report("", STOPPING))
            )
        buffer.work_queue.end()

    def _join(self, thread: str, connection: DedicatedConnection, timeout: float) -> None:
        """Wait for the end of a thread; if it doesn't come in time, abort its statement."""
        threads = self._components.threads
        if not threads.join(thread, timeout):
            connection.abort()
            threads.join(thread, ABORTED)
