"""The jobs that this process holds, from the claim until their end is written.

A job is *waiting* in the work queue, then *running* in a worker, then *ending* until the completer
has written how it ended. All three are plain containers whose single operations the interpreter
makes atomic, so that a job costs no lock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import NamedTuple

from .._run.context import JobContext
from .._store.claim import Claimed
from .work_queue import WorkQueue

BUFFER_SECONDS = 0.05
"""Seconds of work that may wait, to bridge the time of a claim."""

SLOW = 0.1
"""Seconds: jobs that take longer are not prefetched. To claim one costs little in comparison."""

IDLE = 1.0
"""Seconds without work after which nothing is known of the next jobs' duration."""

MOST = 1_500
"""Jobs that wait at most, however fast they are."""

UNWRITTEN = 3_000
"""Jobs whose end is not written yet, with which no more are taken: they are lost with the process,
and fill its memory."""

REFILL = 4
"""More is taken as soon as one part in so many of the buffer is used up. A claim costs about the
same for one job as for ten; but what waits must last until it is back, and before it can begin, its
thread waits until the interpreter is given to it."""


class Run(NamedTuple):
    """A job in a worker. ``started`` is of the monotonic clock."""

    job: Claimed
    context: JobContext
    started: float


class PrefetchBuffer:
    """What is held, and how much more to take."""

    def __init__(self, threads: int, on_awaited: Callable[[], None] | None = None) -> None:
        self.threads = threads
        self.awaited: set[tuple[int, int]] = set()
        """Those held, by id and claim, for whose end another job may wait."""
        self._on_awaited = on_awaited
        self.work_queue = WorkQueue(threads, lambda: self._average_duration)
        self.held: set[tuple[int, int]] = set()
        """Each job with its claim, from the claim until its end is written. The same job may be
        here again, under its next claim, before it is let go of under the one before."""
        self.unbegun: dict[int, Claimed] = {}
        """Each job from its claim until its run has begun: in the work queue, or just out of it."""
        self.running: dict[int, Run] = {}
        self.lease_until = math.inf
        """Until when, on the monotonic clock, nobody else can have been given what is here:
        this process may have stood still since it took a job."""
        self.room_made = Event()
        """Set when the work queue has run low and a claimer waits for that."""
        self.closed = False
        """Set when nothing is to be begun any more."""
        self._low = -1
        # Seconds a job takes, as a moving average. None until the first has ended: until then
        # nothing is prefetched, since it may be of the kind that takes hours.
        self._average_duration: float | None = None
        self._ended_at = 0.0

    def put(self, jobs: Sequence[Claimed]) -> None:
        """Take in what was claimed."""
        self.held.update([(job.id, job.claim) for job in jobs])
        self.unbegun.update({job.id: job for job in jobs})
        self.work_queue.put(jobs)

    def take(self) -> Claimed | None:
        """The next job to run; None when the worker is to end. Waits for one."""
        job = self.work_queue.take()
        if len(self.work_queue) <= self._low:
            self._low = -1
            self.room_made.set()
        return job

    def begun(self, run: Run) -> None:
        """Note that the run of a job that was taken has begun."""
        job_id = run.job.id
        # In this order, so that the job is in one of the two at any moment.
        self.running[job_id] = run
        self.unbegun.pop(job_id, None)

    def lost(self, job: Claimed) -> bool:
        """True if a job that was taken must not run here any more. Waits until that is sure."""
        while time.monotonic() > self.lease_until and not self.closed:
            time.sleep(0.01)
        if (job.id, job.claim) in self.held and not self.closed:
            return False
        self.unbegun.pop(job.id, None)
        return True

    def ended(self, run: Run) -> None:
        """Note that the run has ended, and its end was handed over."""
        if self.running.get(run.job.id) is run:  # and not its next attempt already
            del self.running[run.job.id]

    def holds(self, job: Claimed) -> bool:
        """True if a job that was taken, under this claim, is here and not completed."""
        run = self.running.get(job.id)
        return self.unbegun.get(job.id) is job or (run is not None and run.job is job)

    def drop(self, job: Claimed) -> None:
        """Note that the end of a job was handed over, whether its run had begun or not."""
        if self.unbegun.get(job.id) is job:
            del self.unbegun[job.id]
        run = self.running.get(job.id)
        if run is not None and run.job is job:
            del self.running[job.id]

    def finished(self, started: float, finished: float) -> None:
        """Note how long a run took."""
        self._ended_at = finished
        seconds, average = finished - started, self._average_duration
        self._average_duration = seconds if average is None else average + (seconds - average) * 0.1
        if self._low >= 0 and len(self.work_queue) <= self._low:
            self._low = -1
            self.room_made.set()

    def written(self, jobs: set[tuple[int, int]]) -> None:
        """Let go of jobs whose end is written, given by id and claim."""
        self.held -= jobs
        if not self.room_made.is_set():
            self.room_made.set()
        if self.awaited and (over := self.awaited & jobs):
            self.awaited -= over
            if self._on_awaited is not None:
                self._on_awaited()

    @property
    def waiting(self) -> int:
        return len(self.work_queue)

    @property
    def free(self) -> int:
        """Workers that have nothing to do and nothing waiting for them."""
        return self.threads - len(self.running) - len(self.unbegun)

    def room(self) -> int:
        """How many jobs to take now; 0 while it isn't worth a claim."""
        if not self.busy and time.monotonic() - self._ended_at > IDLE:
            self._average_duration = None  # what comes next may be of another kind
        if self._many_unwritten():
            return 0
        ahead = self._ahead()
        room = self.free + ahead
        return room if room > 0 and room >= ahead // REFILL else 0

    def wait_for_room(self) -> None:
        """Let ``room_made`` be set when there is room."""
        self.room_made.clear()
        if self._many_unwritten():
            self._low = -1  # what makes room is their being written
        else:
            ahead = self._ahead()
            self._low = ahead - ahead // REFILL
        if self.room() > 0:
            self.room_made.set()

    def _many_unwritten(self) -> bool:
        return len(self.held) - len(self.unbegun) - len(self.running) > UNWRITTEN

    @property
    def interval(self) -> float:
        """Seconds from the end of a job to that of the next, as they are of late; 0 if unknown."""
        return (self._average_duration or 0.0) / self.threads

    def _ahead(self) -> int:
        """Jobs to keep waiting. None while jobs are slow: an idle host shall run them."""
        if self._average_duration is None or self._average_duration > SLOW:
            return 0
        return min(MOST, int(self.threads * BUFFER_SECONDS / max(self._average_duration, 1e-5)))

    def stale(self, seconds: float) -> bool:
        """True if jobs wait and no worker has begun one for so long. They should be released, so
        that other servers can claim them."""
        if not self.work_queue:
            return False
        runs = self.runs()
        return (
            len(runs) >= self.threads
            and time.monotonic() - max(run.started for run in runs) > seconds
        )

    def slow_down(self, seconds: float) -> None:
        """Note that runs take at least so long, before one of them has ended."""
        self._average_duration = (
            seconds if self._average_duration is None else max(self._average_duration, seconds)
        )

    def empty(self) -> list[Claimed]:
        """Take out all that has not begun."""
        jobs = self.work_queue.clear()
        for job in jobs:
            self.unbegun.pop(job.id, None)
        return jobs

    def let_go(self) -> None:
        """Forget all that has not begun: others were given it."""
        jobs = [*self.empty(), *self.unbegun.copy().values()]
        self.written({(job.id, job.claim) for job in jobs})

    @property
    def busy(self) -> bool:
        """True while something runs or is about to begin."""
        return bool(self.unbegun or self.running)

    def runs(self) -> list[Run]:
        """All that runs now."""
        return list(self.running.copy().values())

    def snapshot(self) -> set[tuple[int, int]]:
        """Ids and claims of all that is held now."""
        return self.held.copy()
