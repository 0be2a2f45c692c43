"""Takes jobs from the database, in batches, as many as can be run soon.

**When it looks.** After a hint, at once. When the first scheduled job of a lane is due, then. Else
once in a poll interval, because a hint may be lost. While claims come back full, without a pause.

**Where it looks.** In the lanes (a queue at a priority) that a *survey* found, in the order of the
queues' precedence and then of priority. A hint names its lane, so a new one is known at once.

**Marks.** Behind a snapshot that is held for minutes, or behind many jobs of tasks that only other
applications know, each claim has to step over the same dead or foreign entries again. While claims
are slow for that reason, and only then, a lane is entered at the largest ``run_at`` that was taken
from it, and a *sweep* without marks comes along now and then, so that a job whose transaction
committed late is found too. The sweep's interval grows with what it costs.

**Suspects.** A job that has lost two servers may be what kills them, or was merely there. It is
begun when all that was taken before has begun, nothing else is begun beside it for a moment, and
no second one is taken until it has ended. So the job that ends its process is found, and not those
that are taken along with it.

**Taking turns.** When several idle hosts hear the same hint, the one that is busier, or had the
last tick, waits for a moment, so that the load is shared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import sqlalchemy as sa

from .._random import rng
from .._store import DedicatedConnection, Notification, Store, Topic
from .._store.claim import LOST_LIMIT, Claimed, Lane
from .backoff import Backoff
from .clock import Clock
from .prefetch_buffer import PrefetchBuffer
from .wakeup import Wakeup

SLOW = 0.003
SLOW_PER_JOB = 0.000015
SLOW_SHARE = 0.1
"""Seconds: a claim that takes longer than this, plus this for each job, walks over too much. But it
may take a tenth of the time of the jobs themselves: if these compute, it waits for the interpreter
too, and nothing is to be gained."""

FULL_SCAN_INTERVAL = 1.0
FULL_SCAN_COST = 20
"""A sweep comes once in this many seconds, or after this many times what it took."""

LOOK_AGAIN = 0.004
"""Seconds after a hint to look once more: senders leave out hints that follow too closely."""

STALE = 0.15
"""Seconds without a worker coming back for the next job, after which what waits is given back. It
was taken for work of a third of that."""

POISON_CANDIDATE = LOST_LIMIT - 1
"""Servers that a job has lost when it is run with care."""

QUIET = 2.0
"""Seconds that nothing is begun beside a suspect. What ends its process mostly does so at once."""

CANDIDATE_PAUSE = 0.02
"""Seconds between two looks whether a suspect has ended."""

RECOVER_INTERVAL = 5.0
"""Seconds between two looks whether the database says that more is here than is. It may commit a
claim long after the connection broke: what waits for a lock doesn't notice."""

TURN = 0.03
"""Seconds that a host with the last tick lets others go first, also loaded ones."""

BUSY_TURN = 0.002
"""Seconds that a host lets others go first when all its workers are busy; fewer, for less."""


class Claimer:
    """Keeps the stock filled, on a thread and a connection of its own."""

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
        self._rank = {name: place for place, name in enumerate(queues)}
        self._poll_interval = poll_interval
        self._peers = peers
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._paused: frozenset[str] = frozenset()
        self._discover_at = 0.0
        self._discovery_cost = 0.0
        self._look_at: float | None = 0.0
        self._due_at = math.inf
        """When the first scheduled job that the survey saw is due, on the monotonic clock."""
        self._slow = False
        self._slow_cost = 0.0
        """Seconds that the last sweep took, if that was slow; else 0."""
        self._full_scan_at = 0.0
        self._had_last_tick = False
        self._notified_of_tick = False
        self._candidate: tuple[int, int] | None = None
        """Id and claim of the suspect that is held here."""
        self._quiet_until = 0.0
        self._emptying = False
        """Whether nothing is taken until all that was taken has begun."""
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
            self._give_back()
        if self._waits_for_candidate():
            return
        room = self._buffer.room()
        if room == 0:
            self._wait_for_room()
            return
        notifications = self._wakeup.take()
        if self._stopping:
            return  # what woke it may have been the word to stop
        moment = time.monotonic()
        if moment >= self._discover_at:
            self._discover(moment)
        if notifications:
            self._handle(notifications, moment)
        if self._look_at is not None and moment >= self._look_at:
            self._look(room)
            return
        until = (
            self._discover_at if self._look_at is None else min(self._look_at, self._discover_at)
        )
        if self._candidate is not None:
            until = min(until, moment + CANDIDATE_PAUSE)
        if self._buffer.waiting:
            until = min(until, moment + STALE / 5)
        if not self._wakeup.wait(until - moment):
            return
        self._give_way()

    def _wait_for_room(self) -> None:
        self._buffer.wait_for_room()
        if self._stopping:
            return
        self._buffer.room_made.wait(STALE / 5 if self._buffer.waiting else FULL_SCAN_INTERVAL / 2)
        # What became due meanwhile is found by looking, not by a hint.
        self._look_at = 0.0

    def _give_back(self) -> None:
        self._buffer.slow_down(STALE)
        jobs = self._buffer.empty()
        if jobs:
            # Let go of first: if handing them back fails, they are found to be strays.
            self._buffer.written({(job.id, job.claim) for job in jobs})
            with self._dedicated.use() as connection:
                self._release(connection, jobs)

    def _recover(self) -> None:
        """Give back what the database says is here and is not."""
        moment = time.monotonic()
        with self._dedicated.use() as connection:
            held = self._buffer.snapshot()
            claimed = self._store.jobs.claimed_by(connection, self._server_id())
            leaked = [job for job in claimed if job not in held]
            if leaked:
                self._driver.release(connection, leaked)
                self._look_at = 0.0
        self._recover_at = moment + RECOVER_INTERVAL

    def _waits_for_candidate(self) -> bool:
        """Whether nothing is to be taken for now because of one; then a moment has passed."""
        if self._candidate is not None and self._candidate not in self._buffer.held:
            self._candidate, self._quiet_until, self._look_at = None, 0.0, 0.0
        if self._emptying and not self._buffer.unbegun:
            self._emptying, self._look_at = False, 0.0
        if self._stopping or not (self._emptying or time.monotonic() < self._quiet_until):
            return False
        time.sleep(CANDIDATE_PAUSE)
        return True

    def _set_candidate_apart(
        self, connection: sa.Connection, jobs: Sequence[Claimed]
    ) -> Sequence[Claimed]:
        """Keep what comes before the first suspect, or the suspect alone; give back the rest."""
        first = next(place for place, job in enumerate(jobs) if job.lost >= POISON_CANDIDATE)
        kept = jobs[:first]
        if first == 0 and not self._buffer.unbegun:
            kept = jobs[:1]
            self._candidate = (jobs[0].id, jobs[0].claim)
            self._quiet_until = time.monotonic() + QUIET
        else:
            self._emptying = True
        self._release(connection, jobs[len(kept) :])
        return kept

    def _release(self, connection: sa.Connection, jobs: Sequence[Claimed]) -> None:
        if jobs:
            self._driver.release(connection, [(job.id, job.claim) for job in jobs])
            for queue, priority in {(job.queue, job.priority) for job in jobs}:
                self._driver.notify(connection, Notification(Topic.JOB, queue, priority))

    def _discover(self, moment: float) -> None:
        with self._dedicated.use() as connection:
            before = time.monotonic()
            discover_lanes = self._driver.discover_lanes(connection)
            self._clock.set(discover_lanes.now, (before + time.monotonic()) / 2)
        self._paused = discover_lanes.paused
        marks = {place: lane.mark for place, lane in self._lanes.items()}
        self._lanes = {}
        self._due_at = math.inf
        for lane in discover_lanes.lanes:
            if lane.queue in self._paused or not self._serves(lane.queue):
                continue
            place = (lane.queue, lane.priority)
            lane.mark = marks.get(place)
            self._lanes[place] = lane
            if lane.next_run_at is not None:
                due = self._clock.monotonic(lane.next_run_at)
                if due <= moment:
                    self._look_at = moment
                else:
                    self._due_at = min(self._due_at, due)
        cost, last = time.monotonic() - before, self._discovery_cost
        self._discovery_cost = cost
        # Once may have been a lock, here too.
        pause = max(self._poll_interval * rng.uniform(0.8, 1.2), FULL_SCAN_COST * min(cost, last))
        self._discover_at = moment + pause
        if self._due_at < math.inf:
            look_at = self._due_at if self._look_at is None else self._look_at
            self._look_at = min(look_at, self._due_at)

    def _serves(self, queue: str) -> bool:
        return queue in self._rank or "*" in self._rank

    def _handle(self, notifications: set[Notification], moment: float) -> None:
        for notification in notifications:
            self._notified_of_tick |= notification.topic is Topic.TICK
            if notification.topic in (Topic.JOB, Topic.TICK):
                place = (notification.queue, notification.priority)
                if notification.queue in self._paused:
                    continue
                if place not in self._lanes and self._serves(notification.queue):
                    self._lanes[place] = Lane(*place)
            elif notification.topic in (Topic.LATER, Topic.ANY):
                self._discover(moment)
        self._look_at = 0.0

    def _give_way(self) -> None:
        """Let a host that has less to do, or didn't have the last tick, be the first."""
        if self._peers() == 0 or self._driver.name == "sqlite":
            return
        pause = BUSY_TURN * len(self._buffer.running) / self._buffer.threads
        if self._had_last_tick:
            pause += TURN
        if pause > 0:
            time.sleep(pause + rng.uniform(0, BUSY_TURN / 2))

    def _look(self, room: int) -> None:
        moment = time.monotonic()
        foreseen = moment >= self._due_at
        if foreseen:
            # The survey saw only the first of each lane: the next is to be found.
            self._due_at, self._discover_at = math.inf, moment
        # What is due later stays so, whatever this look finds.
        self._look_at = self._due_at if self._due_at < math.inf else None
        lanes = self._in_order()
        if not lanes:
            return
        full_scan = not self._slow or moment >= self._full_scan_at
        server_id = self._server_id()
        with self._dedicated.use() as connection:
            jobs: Sequence[Claimed] = self._driver.claim(
                connection,
                server_id=server_id,
                lanes=[Lane(lane.queue, lane.priority) for lane in lanes] if full_scan else lanes,
                tasks=self._tasks(),
                limit=room,
                lost_below=LOST_LIMIT if self._candidate is None else POISON_CANDIDATE,
            )
            full = len(jobs) == room
            if any(job.lost >= POISON_CANDIDATE for job in jobs):
                jobs, full = self._set_candidate_apart(connection, jobs), True
        if self._server_id() != server_id:
            return  # taken for dead meanwhile, and so what was claimed is others' now
        cost = time.monotonic() - moment
        if full_scan:
            # Once may have been a lock. To begin further on for that reason would be to begin past
            # jobs whose transactions waited for the same lock, and are older than those seen. Nor
            # is it a reason to sweep more seldom: of two that were slow the cheaper one counts.
            share = max(SLOW_PER_JOB, SLOW_SHARE * self._buffer.interval)
            slow_cost = cost if cost > SLOW + share * len(jobs) else 0.0
            both = min(slow_cost, self._slow_cost)
            self._slow, self._slow_cost = both > 0, slow_cost
            self._full_scan_at = moment + max(FULL_SCAN_INTERVAL, FULL_SCAN_COST * both)
        self._buffer.put(jobs)
        self._note(jobs, exhausted=not full)
        if jobs:
            self._had_last_tick = jobs[-1].due is not None
        elif self._notified_of_tick:
            self._had_last_tick = False  # another host has taken it
        self._notified_of_tick = False
        if full:
            self._look_at = 0.0
        elif jobs or foreseen:
            # By the database's clock it may be a hair earlier than was reckoned here.
            self._look_at = time.monotonic() + LOOK_AGAIN

    def _note(self, jobs: Sequence[Claimed], *, exhausted: bool) -> None:
        # They come lane by lane in the order of run_at: of each lane the last one counts.
        last = jobs if len(self._lanes) > 1 else jobs[-1:]
        for place, run_at in {(job.queue, job.priority): job.run_at for job in last}.items():
            lane = self._lanes.get(place)
            if lane is not None and (lane.mark is None or run_at > lane.mark):
                lane.mark = run_at
        if exhausted and (now := self._clock.now()) is not None:
            # All that was due was seen, whoever may run it: begin shortly before now next time.
            recent = now - timedelta(seconds=FULL_SCAN_INTERVAL)
            for lane in self._lanes.values():
                if lane.mark is None or lane.mark < recent:
                    lane.mark = recent

    def _in_order(self) -> list[Lane]:
        """Lanes by the queues' precedence and by priority; equals in an order drawn anew."""
        lanes = list(self._lanes.values())
        rng.shuffle(lanes)
        rest = self._rank.get("*", 0)
        lanes.sort(key=lambda lane: (self._rank.get(lane.queue, rest), lane.priority))
        return lanes
