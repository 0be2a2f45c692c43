"""The queue between the claimer and the workers: jobs that wait for a worker, and the reverse.

Threads of Python take turns. While jobs take microseconds, one worker runs them as fast as all of
them would, and each further one that is awake only takes turns away: from the thread that fetches
more, from the one that writes the ends, and from the application's own. So a flood of quick jobs
wakes few workers.

It isn't known beforehand that a job is quick. One more worker therefore stands by: it wakes
the others if nobody has come for the next job in ``PATIENCE``, or if jobs turn out to take longer.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence

from .._store.claim import Claimed

WORTH = 0.02
"""Seconds of work that are worth waking one more worker in a flood."""

PATIENCE = 0.02
"""Seconds in which somebody has to come for the next job."""


class _IdleWorker:
    """Where one worker waits. ``lock`` is held by it, and released to wake it."""

    __slots__ = ("lock", "stands_by")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.stands_by = False


class WorkQueue:
    """Jobs in the order they are to be run. One thread puts them in, many take them out.

    :param average_duration: gives the seconds that a job takes now; None if nothing is known.
    """

    def __init__(self, threads: int, average_duration: Callable[[], float | None]) -> None:
        self._threads = threads
        self._average_duration = average_duration
        # Plain containers, whose single operations the interpreter makes atomic.
        self._jobs: deque[Claimed | None] = deque()
        self._waiting: list[_IdleWorker] = []
        self._standing_by: list[_IdleWorker] = []
        """Those that stand by: they wait too, but not for long."""
        self._has_standby = False
        self._local = threading.local()

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, jobs: Sequence[Claimed]) -> None:
        """Put jobs in."""
        was_empty = not self._jobs
        self._jobs.extend(jobs)
        if len(jobs) <= len(self._waiting) + len(self._standing_by):
            self._wake(len(jobs))
            return
        # Of a flood, those that are awake come for the rest.
        self._wake(max(int(was_empty), self._worth_waking()))
        self._post_standby()

    def end(self) -> None:
        """Let each worker find that there is nothing more to do, after what is there."""
        self._jobs.extend([None] * self._threads)
        self._wake(self._threads)

    def take(self) -> Claimed | None:
        """The next job, or None for the end. Waits for it."""
        jobs = self._jobs
        while True:
            try:
                return jobs.popleft()
            except IndexError:
                self._wait()

    def clear(self) -> list[Claimed]:
        """Take out all that is there."""
        jobs: list[Claimed] = []
        while self._jobs:
            try:
                job = self._jobs.popleft()
            except IndexError:
                break
            if job is not None:
                jobs.append(job)
        return jobs

    def _worth_waking(self) -> int:
        """How many more workers are worth waking for what is here."""
        average_duration = self._average_duration()
        if average_duration is None:
            return self._threads
        awake = self._threads - len(self._waiting)
        return math.ceil(min(len(self._jobs) * average_duration / WORTH, self._threads)) - awake

    def _wake(self, count: int) -> None:
        """Wake so many workers, or as many as sleep; those that fell asleep last come first."""
        for _ in range(count):
            try:
                idle = (self._waiting or self._standing_by).pop()
            except IndexError:
                return
            idle.lock.release()

    def _wait(self) -> None:
        """Wait until there may be something to take."""
        idle: _IdleWorker | None = getattr(self._local, "idle", None)
        if idle is None:
            idle = self._local.idle = _IdleWorker()
        self._waiting.append(idle)
        if self._jobs:
            # Put in just now, by one who may have seen nobody wait.
            try:
                self._waiting.remove(idle)
                return
            except ValueError:
                pass  # woken already
        idle.lock.acquire()
        if idle.stands_by:
            self._stand_by(idle)

    def _stand_by(self, idle: _IdleWorker) -> None:
        """Wait until all is taken, or nobody has come for the next job: then wake the others."""
        idle.stands_by = False
        seen: Claimed | None = None
        while (first := self._first()) is not None:
            if first is seen:
                self._wake(len(self._jobs))
                break
            seen = first
            self._wake(self._worth_waking())
            # With nobody left to wake there is nothing to stand by for.
            if not self._waiting or self._woken_in_time(idle):
                break
        self._has_standby = False
        self._post_standby()

    def _first(self) -> Claimed | None:
        try:
            return self._jobs[0]
        except IndexError:
            return None

    def _woken_in_time(self, idle: _IdleWorker) -> bool:
        """Wait for ``PATIENCE``; True if this one was woken meanwhile, like any that waits."""
        self._standing_by.append(idle)
        if idle.lock.acquire(timeout=PATIENCE):
            return True
        try:
            self._standing_by.remove(idle)
        except ValueError:
            idle.lock.acquire()  # woken just now
            return True
        return False

    def _post_standby(self) -> None:
        """Let a worker stand by while jobs are here and workers sleep."""
        if not self._jobs or self._has_standby:
            return
        try:
            idle = self._waiting.pop()
        except IndexError:
            return
        self._has_standby = idle.stands_by = True
        idle.lock.release()
