"""What a server gives back: how runs ended. Times are seconds of the process's monotonic clock.

They become moments of the database's clock when they are written ("so many seconds before now"),
so the host's own clock never enters the database.
"""

from __future__ import annotations

from typing import NamedTuple

from .transitions import Event, Outcome

OF_OUTCOME = {
    Outcome.FAILED: Event.FAILED,
    Outcome.CANCELLED: Event.CANCELLED,
    Outcome.RELEASED: Event.RELEASED,
}
"""What the end of a run means for a job that is not to be retried."""


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
    def event(self) -> Event:
        """What it means for the job."""
        if self.retry_in is not None:
            return Event.RETRIED
        return OF_OUTCOME[self.outcome]

    @property
    def summary(self) -> str:
        """Kind and message, on one line, for lists."""
        first = self.message.strip().splitlines()
        return f"{self.error_type}: {first[0]}" if first else self.error_type
