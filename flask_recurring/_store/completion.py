"""What a server gives back: how runs ended. Times are seconds of the process's monotonic clock.

They become moments of the database's clock when they are written ("so many seconds before now"),
so the host's own clock never enters the database.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Outcome(enum.StrEnum):
    """How a run ended that did not succeed."""

    FAILED = "Failed"
    CANCELLED = "Cancelled"
    LOST = "Lost"
    RELEASED = "HandedBack"


class Success(NamedTuple):
    """A run that came to its end."""

    id: int
    claim: int
    started: float
    finished: float
    result: str | None
    task: str
    waited: float


class Failure(NamedTuple):
    """A run that failed or was cancelled."""

    id: int
    claim: int
    attempt: int
    outcome: Outcome
    started: float
    finished: float
    retry_in: float | None
    """Seconds until the next attempt; None if there is none."""
    error_type: str
    message: str
    traceback: str | None
    task: str
    waited: float
    queue: str
    priority: int

    @property
    def summary(self) -> str:
        """Kind and message, on one line, for lists."""
        first = self.message.strip().splitlines()
        return f"{self.error_type}: {first[0]}" if first else self.error_type


def state_after(run: Failure) -> str:
    """The stored state that a job goes to when its run did not succeed."""
    if run.retry_in is not None or run.outcome is Outcome.RELEASED:
        return "Enqueued"
    return "Deleted" if run.outcome is Outcome.CANCELLED else "Failed"
