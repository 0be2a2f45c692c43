"""Counts of what runs ended as, by task, for the statistics."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

from .._store import Tally
from .._store.completion import Failure, Success
from .._store.transitions import Outcome

INTERVAL = 1.0
"""Seconds between two additions to the stored counts."""


class Tallies:
    """Counts what was written, until that is added to the stored counts."""

    def __init__(self) -> None:
        # By task: succeeded, failed, retried; seconds of running, seconds of waiting.
        self._counts: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0, 0.0, 0.0])
        self._written_at = time.monotonic()

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, successes: Sequence[Success], failures: Sequence[Failure]) -> None:
        """Count these runs."""
        for success in successes:
            count = self._counts[success.task]
            count[0] += 1
            count[3] += success.finished - success.started
            count[4] += success.waited
        for failure in failures:
            if failure.outcome is Outcome.FAILED:
                count = self._counts[failure.task]
                count[1 if failure.retry_in is None else 2] += 1
                count[3] += failure.finished - failure.started
                count[4] += failure.waited

    @property
    def due(self) -> bool:
        """True if it is time to add them to the stored counts."""
        return bool(self._counts) and time.monotonic() - self._written_at >= INTERVAL

    def all(self) -> list[Tally]:
        """What is to be added."""
        return [
            Tally(task, int(count[0]), int(count[1]), int(count[2]), count[3], count[4])
            for task, count in self._counts.items()
        ]

    def written(self) -> None:
        """Begin anew, now that all of them are stored."""
        self._counts.clear()
        self._written_at = time.monotonic()
