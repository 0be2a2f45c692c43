"""A notification says that it may be worth looking now. Nothing depends on receiving one.

Between processes it travels by PostgreSQL's NOTIFY, inside a process it is a call. A lost one costs
at most the time to the next poll.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Topic(enum.StrEnum):
    """What a notification is about."""

    JOB = "job"
    TICK = "tick"
    """A recurring job's tick was enqueued. A topic of its own, so that hosts can take turns."""
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
        """Read a notification. One that can't be read says that anything may have changed."""
        try:
            topic, priority, queue = text.split(" ", 2)
            return cls(Topic(topic), queue, int(priority))
        except ValueError:
            return cls(Topic.ANY)
