"""The lanes in which this server looks for jobs, and where in them a claim begins.

A lane is a queue at a priority. Lane discovery finds those that hold waiting jobs. A notification
names its lane, so a new one is known at once.

**Watermarks.** A snapshot that is held for minutes, or many jobs of tasks that only other
applications know, make each claim step over the same dead or foreign entries again. While claims
are slow for that reason, and only then, a claim enters each lane at its watermark: the largest
``run_at`` that was taken from it. A full scan, which begins at the front of each lane, follows now
and then, so that a job whose transaction committed late is found too. The more full scans cost,
the more seldom they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from .._random import rng
from .._store.claim import Claimed, Lane, LaneDiscovery
from .clock import Clock

SLOW = 0.003
SLOW_PER_JOB = 0.000015
SLOW_SHARE = 0.1
"""Seconds: a claim that takes longer than this, plus this for each job, steps over too much. But it
may take a tenth of the time of the jobs themselves: if these compute, it waits for the interpreter
too, and watermarks would not help."""

FULL_SCAN_INTERVAL = 1.0
FULL_SCAN_COST = 20
"""A full scan follows after this many seconds, or after this many times what the last one took."""


class Lanes:
    """The lanes that are known now, in the order in which jobs are taken from them.

    :param queues: in their order of precedence; ``*`` stands for all others.
    """

    def __init__(self, queues: Sequence[str], clock: Clock) -> None:
        self._rank = {name: place for place, name in enumerate(queues)}
        self._clock = clock
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._paused: frozenset[str] = frozenset()

    def update(self, found: LaneDiscovery) -> list[float]:
        """Take over what lane discovery found; the watermarks of lanes that go on are kept.

        Returns when the first job of each lane is due, on the monotonic clock.
        """
        before, self._lanes, self._paused = self._lanes, {}, found.paused
        due = []
        for lane in found.lanes:
            if not self._serves(lane.queue):
                continue
            key = (lane.queue, lane.priority)
            if key in before:
                lane.mark = before[key].mark
            self._lanes[key] = lane
            if lane.next_run_at is not None:
                due.append(self._clock.monotonic(lane.next_run_at))
        return due

    def add(self, queue: str, priority: int) -> None:
        """Add the lane that a notification names, unless it is known or not served."""
        if (queue, priority) not in self._lanes and self._serves(queue):
            self._lanes[queue, priority] = Lane(queue, priority)

    def _serves(self, queue: str) -> bool:
        return queue not in self._paused and (queue in self._rank or "*" in self._rank)

    def in_order(self) -> list[Lane]:
        """The lanes by the queues' precedence and by priority; equal ones in a random order."""
        lanes = list(self._lanes.values())
        rng.shuffle(lanes)
        rest = self._rank.get("*", 0)
        lanes.sort(key=lambda lane: (self._rank.get(lane.queue, rest), lane.priority))
        return lanes

    def claimed(self, jobs: Sequence[Claimed], *, exhausted: bool) -> None:
        """Move the watermarks.

        :param exhausted: nothing that is due was left.
        """
        # They come lane by lane in the order of run_at: of each lane the last one counts.
        last = jobs if len(self._lanes) > 1 else jobs[-1:]
        for key, run_at in {(job.queue, job.priority): job.run_at for job in last}.items():
            lane = self._lanes.get(key)
            if lane is not None and (lane.mark is None or run_at > lane.mark):
                lane.mark = run_at
        if exhausted and (now := self._clock.now()) is not None:
            # All that was due was seen, whoever may run it: begin shortly before now next time.
            recent = now - timedelta(seconds=FULL_SCAN_INTERVAL)
            for lane in self._lanes.values():
                if lane.mark is None or lane.mark < recent:
                    lane.mark = recent


class FullScans:
    """Decides which claims are full scans: all of them, until two in a row were slow."""

    def __init__(self) -> None:
        self._slow = False
        self._slow_cost = 0.0
        """Seconds that the last full scan took, if that was slow; else 0."""
        self._next_at = 0.0

    def due(self, now: float) -> bool:
        """True if the next claim is a full scan."""
        return not self._slow or now >= self._next_at

    def took(self, began: float, seconds: float, jobs: int, interval: float) -> None:
        """Note what a full scan cost.

        :param interval: seconds from the end of a job to that of the next.
        """
        # A slow one may have waited for a lock. To begin at the watermarks for that reason would be
        # to begin past jobs whose transactions waited for the same lock, and are older than those
        # seen. Nor is it a reason to scan more seldom. So of two that were slow the cheaper counts.
        limit = SLOW + max(SLOW_PER_JOB, SLOW_SHARE * interval) * jobs
        slow_cost = seconds if seconds > limit else 0.0
        both = min(slow_cost, self._slow_cost)
        self._slow, self._slow_cost = both > 0, slow_cost
        self._next_at = began + max(FULL_SCAN_INTERVAL, FULL_SCAN_COST * both)
