"""How many of the jobs in the state Processing run, and how many were only claimed ahead.

A server claims some jobs ahead, so that its threads need not wait for the next one. All of them
are Processing, and nothing in a job's row tells the two apart. But no server runs more jobs at once
than it has threads: what is beyond these waits inside a server, or has just ended and is about to
be written down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from .._store import CappedCount, ServerInfo
from ..job import JobState


@dataclass(frozen=True, slots=True)
class Processing:
    """The jobs that servers hold."""

    running: CappedCount
    """As many of them as there are threads, at most."""
    claimed: CappedCount
    """The others."""

    @classmethod
    def of(cls, counts: Mapping[JobState, CappedCount], live: Sequence[ServerInfo]) -> Self:
        held = counts[JobState.PROCESSING]
        # Jobs of a server that has gone count as running until they are given to another one.
        threads = sum(server.threads for server in live) or held.value
        if held.value <= threads:
            return cls(held, CappedCount(0))
        return cls(CappedCount(threads), CappedCount(held.value - threads, held.capped))
