"""A hint: "it may be worth looking now". Nothing depends on one being heard.

Between processes hints travel as PostgreSQL notifications; inside a process they are a call. One
that is lost costs at most the time to the next poll.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Topic(enum.StrEnum):
    """What a hint is about."""

    JOB = "job"
    TICK = "tick"
    """A recurring job's tick was enqueued; told apart so that hosts can take turns."""
    LATER = "later"
    """A job was enqueued that is due in a moment, sooner perhaps than the next poll."""
    SCHEDULE = "schedule"
    """A recurring job was defined, changed, paused or resumed."""
    CANCEL = "cancel"
    ANY = "any"
    """Something changed, and it isn't known what."""


@dataclass(frozen=True, slots=True)
class Notification:
    topic: Topic
    queue: str = ""
    priority: int = 0

    def encode(self) -> str:
        return f"{self.topic} {self.priority} {self.queue}"

    @classmethod
    def decode(cls, text: str) -> Notification:
        """Read a hint; whatever can't be read is a hint that anything may have changed."""
        try:
            topic, priority, queue = text.split(" ", 2)
            return cls(Topic(topic), queue, int(priority))
        except ValueError:
            return cls(Topic.ANY)
