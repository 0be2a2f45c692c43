"""Takes jobs from the database, in batches, as many as can be run soon.

It looks at once after a notification, and when the first scheduled job of a lane is due. Otherwise
it looks once in a poll interval, because a notification may be lost. While claims come back full,
it looks without a pause.

``lanes`` says where it looks, ``quarantine`` what it must not take now, ``turns`` when it lets
other hosts go first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from .._random import rng
from .._store import DedicatedConnection, Notification, Store, Topic
from .._store.claim import Claimed, Lane
from .backoff import Backoff
from .clock import Clock
from .lanes import FULL_SCAN_COST, FULL_SCAN_INTERVAL, FullScans, Lanes
from .prefetch_buffer import PrefetchBuffer
from .quarantine import Quarantine
from .turns import Turns
from .wakeup import Wakeup

LOOK_AGAIN = 0.004
"""Seconds after a notification to look once more: senders leave out those that follow too
closely."""

STALE = 0.15
"""Seconds without a worker coming back for the next job, after which what waits is released. It was
taken for work of a third of that."""

CANDIDATE_PAUSE = 0.02
"""Seconds between two looks at the quarantine."""

RECOVER_INTERVAL = 5.0
"""Seconds between two searches for leaked claims. The database may commit a claim long after the
connection broke: a statement that waits for a lock doesn't notice."""


class Claimer:
    """Keeps the prefetch buffer filled, on a thread and a connection of its own."""

    def __init__(
        self,
        store: Store,
        dedicated: DedicatedConnection,
        buffer: PrefetchBuffer,
        wakeup: Wakeup,
        clock: Clock,
        *,
        server_id: Callable[[], int],
        tasks: Callable[[], Sequence[str]],
        queues: Sequence[str],
        poll_interval: float,
        peers: Callable[[], int],
    ) -> None:
        self._store = store
        self._driver = store.database.driver
        self._dedicated = dedicated
        self._buffer = buffer
        self._wakeup = wakeup
        self._clock = clock
        self._server_id = server_id
        self._tasks = tasks
        self._poll_interval = poll_interval
        self._lanes = Lanes(queues, clock)
        self._full_scans = FullScans()
        self._quarantine = Quarantine(buffer)
        self._turns = Turns(buffer, peers)
        self._discover_at = 0.0
        self._discovery_cost = 0.0
        self._look_at: float | None = 0.0
        self._due_at = math.inf
        """When the first scheduled job that lane discovery saw is due, on the monotonic clock."""
        self._recover_at = 0.0
        self._stopping = False
        self._backoff = Backoff("Taking jobs")

    def run(self) -> None:
        """Claim until ``stop`` is called."""
        while not self._stopping:
            try:
                self._step()
            except Exception as error:
                pause = self._backoff.failed(error)
                self._dedicated.close()
                # A claim may have been committed although its reply never came.
                self._recover_at = self._discover_at = self._look_at = 0.0
                time.sleep(pause)
            else:
                self._backoff.succeeded()
        self._dedicated.close()

    def stop(self) -> None:
        """Take no more."""
        self._stopping = True
        self._wakeup.poke()
        self._buffer.room_made.set()

    def _step(self) -> None:
        if time.monotonic() >= self._recover_at:
            self._recover()
        if self._buffer.stale(STALE):
            self._release_stale()
        if self._quarantine.update():
            self._look_at = 0.0
        if self._quarantine.blocks and not self._stopping:
            time.sleep(CANDIDATE_PAUSE)
            return
        room = self._buffer.room()
        if room == 0:
            self._wait_for_room()
            return
        notifications = self._wakeup.take()
        if self._stopping:
            return  # what woke it may have been the call to stop
        now = time.monotonic()
        if now >= self._discover_at:
            self._discover(now)
        if notifications:
            self._handle(notifications, now)
        if self._look_at is not None and now >= self._look_at:
            self._look(room)
        elif self._wakeup.wait(self._idle_until(now) - now):
            self._give_way()

    def _idle_until(self, now: float) -> float:
        """When to look again if no notification comes."""
        until = self._discover_at
        if self._look_at is not None:
            until = min(until, self._look_at)
        if self._quarantine.occupied:
            until = min(until, now + CANDIDATE_PAUSE)
        if self._buffer.waiting:
            until = min(until, now + STALE / 5)
        return until

    def _wait_for_room(self) -> None:
        self._buffer.wait_for_room()
        if self._stopping:
            return
        self._buffer.room_made.wait(STALE / 5 if self._buffer.waiting else FULL_SCAN_INTERVAL / 2)
        # What became due meanwhile is found by looking: no notification tells of it.
        self._look_at = 0.0

    def _give_way(self) -> None:
        if self._driver.name == "sqlite":
            return  # all servers are on one host
        pause = self._turns.pause()
        if pause > 0:
            time.sleep(pause)

    # -- what is here and should not be

    def _release_stale(self) -> None:
        """Release what waits here while no worker comes for it, so that other hosts see it."""
        self._buffer.slow_down(STALE)
        jobs = self._buffer.empty()
        if jobs:
            # Dropped first: if the release fails, they are found as leaked claims.
            self._buffer.written({(job.id, job.claim) for job in jobs})
            with self._dedicated.use() as connection:
                self._release(connection, jobs)

    def _recover(self) -> None:
        """Release leaked claims: what the database says is here and is not."""
        now = time.monotonic()
        with self._dedicated.use() as connection:
            held = self._buffer.snapshot()
            claimed = self._store.jobs.claimed_by(connection, self._server_id())
            leaked = [job for job in claimed if job not in held]
            if leaked:
                self._driver.release(connection, leaked)
                self._look_at = 0.0
        self._recover_at = now + RECOVER_INTERVAL

    def _release(self, connection: sa.Connection, jobs: Sequence[Claimed]) -> None:
        if jobs:
            self._driver.release(connection, [(job.id, job.claim) for job in jobs])
            for queue, priority in {(job.queue, job.priority) for job in jobs}:
                self._driver.notify(connection, Notification(Topic.JOB, queue, priority))

    # -- where to look, and when

    def _discover(self, now: float) -> None:
        with self._dedicated.use() as connection:
            before = time.monotonic()
            found = self._driver.discover_lanes(connection)
            self._clock.set(found.now, (before + time.monotonic()) / 2)
        due = self._lanes.update(found)
        if any(at <= now for at in due):
            self._look_at = now
        self._due_at = min((at for at in due if at > now), default=math.inf)
        cost, last = time.monotonic() - before, self._discovery_cost
        self._discovery_cost = cost
        # One that was slow may have waited for a lock: the cheaper of two counts.
        pause = max(self._poll_interval * rng.uniform(0.8, 1.2), FULL_SCAN_COST * min(cost, last))
        self._discover_at = now + pause
        if self._due_at < math.inf:
            look_at = self._due_at if self._look_at is None else self._look_at
            self._look_at = min(look_at, self._due_at)

    def _handle(self, notifications: set[Notification], now: float) -> None:
        for notification in notifications:
            if notification.topic is Topic.TICK:
                self._turns.notified_of_tick()
            if notification.topic in (Topic.JOB, Topic.TICK):
                self._lanes.add(notification.queue, notification.priority)
            elif notification.topic in (Topic.LATER, Topic.ANY):
                self._discover(now)
        self._look_at = 0.0

    # -- the claim

    def _look(self, room: int) -> None:
        now = time.monotonic()
        foreseen = now >= self._due_at
        if foreseen:
            # Lane discovery saw only the first job of each lane: the next is to be found.
            self._due_at, self._discover_at = math.inf, now
        # What is due later stays so, whatever this look finds.
        self._look_at = self._due_at if self._due_at < math.inf else None
        lanes = self._lanes.in_order()
        if not lanes:
            return
        full_scan = self._full_scans.due(now)
        server_id = self._server_id()
        with self._dedicated.use() as connection:
            claimed = self._driver.claim(
                connection,
                server_id=server_id,
                lanes=[Lane(lane.queue, lane.priority) for lane in lanes] if full_scan else lanes,
                tasks=self._tasks(),
                limit=room,
                lost_below=self._quarantine.lost_below,
            )
            jobs, rest = self._quarantine.split(claimed)
            self._release(connection, rest)
        if self._server_id() != server_id:
            return  # declared dead meanwhile, and so what was claimed is others' now
        if full_scan:
            took = time.monotonic() - now
            self._full_scans.took(now, took, len(jobs), self._buffer.interval)
        # A candidate that was found makes this claim less than it could have been.
        full = len(claimed) == room or self._quarantine.blocks
        self._buffer.put(jobs)
        self._lanes.claimed(jobs, exhausted=not full)
        self._turns.claimed(jobs)
        if full:
            self._look_at = 0.0
        elif jobs or foreseen:
            # By the database's clock it may be a hair earlier than was reckoned here.
            self._look_at = time.monotonic() + LOOK_AGAIN
