"""Keeps a job that may be what kills servers apart from the others.

A job that has lost two servers is a poison candidate: it may be what ended them, or was merely
there. It begins when all that was taken before has begun, nothing else begins beside it for a
while, and no second one is taken until it has ended. So the job that ends its process is found, and
not those that run beside it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from .._store.claim import LOST_LIMIT, Claimed
from .prefetch_buffer import PrefetchBuffer

POISON_CANDIDATE = LOST_LIMIT - 1
"""Servers that a job has lost when it becomes a candidate."""

QUIET = 2.0
"""Seconds in which nothing begins beside a candidate. What ends its process mostly does so at
once."""


class Quarantine:
    """Holds at most one candidate."""

    def __init__(self, buffer: PrefetchBuffer) -> None:
        self._buffer = buffer
        self._candidate: tuple[int, int] | None = None
        """Id and claim of the candidate that is held here."""
        self._quiet_until = 0.0
        self._emptying = False
        """True if nothing is taken until all that was taken has begun."""

    @property
    def occupied(self) -> bool:
        """True while a candidate is held."""
        return self._candidate is not None

    @property
    def lost_below(self) -> int:
        """Jobs that have lost as many servers as this are not to be claimed now."""
        return LOST_LIMIT if self._candidate is None else POISON_CANDIDATE

    @property
    def blocks(self) -> bool:
        """True while nothing at all is to be claimed."""
        return self._emptying or time.monotonic() < self._quiet_until

    def update(self) -> bool:
        """Notice that a candidate has ended, or may begin; True if there is such news."""
        news = False
        if self._candidate is not None and self._candidate not in self._buffer.held:
            self._candidate, self._quiet_until, news = None, 0.0, True
        if self._emptying and not self._buffer.unbegun:
            self._emptying, news = False, True
        return news

    def split(self, jobs: Sequence[Claimed]) -> tuple[Sequence[Claimed], Sequence[Claimed]]:
        """Divide what was claimed into what is kept and what is to be released.

        What comes before the first candidate is kept, or else the candidate alone.
        """
        first = next(
            (place for place, job in enumerate(jobs) if job.lost >= POISON_CANDIDATE), len(jobs)
        )
        if first == len(jobs):
            return jobs, ()
        if first > 0 or self._buffer.unbegun:
            self._emptying = True
            return jobs[:first], jobs[first:]
        self._candidate = (jobs[0].id, jobs[0].claim)
        self._quiet_until = time.monotonic() + QUIET
        return jobs[:1], jobs[1:]
