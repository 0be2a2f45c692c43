"""What somebody wants a recurring job to be, and the JSON that keeps it.

What the code gave and what an operator put in its place are kept apart, as JSON of the same names;
``Definition.of`` joins them to what counts. A field that has its default stands in no JSON, so a
field that a later version adds changes no text that is there, and no hash of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import msgspec

from .policy import Policy
from .schedule import Schedule, read_schedule

OPTIONS = ("retry", "timeout")
"""What of a job's options may be given to a recurring job."""

_POLICY = Policy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A recurring job as a decorator or ``add_or_update`` gives it.

    ``arguments`` and ``options`` are JSON, as a job has them.
    """

    id: str
    task: str
    arguments: str
    queue: str
    priority: int
    cron: str
    """Or an interval, ``@every 90s``."""
    timezone: str
    options: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    policy: Policy = field(default_factory=Policy)

    @classmethod
    def of(cls, id: str, *layers: Mapping[str, Any]) -> Self:
        """The definition that JSON fields make, later layers over earlier ones.

        Fields and words that only a newer version knows are passed over.
        """
        fields: dict[str, Any] = {}
        for layer in layers:
            fields |= layer
        options = {name: fields[name] for name in OPTIONS if fields.get(name) is not None}
        return cls(
            id=id,
            task=fields["task"],
            arguments=fields["arguments"],
            queue=fields["queue"],
            priority=fields["priority"],
            cron=fields["cron"],
            timezone=fields["timezone"],
            options=msgspec.json.encode(options).decode() if options else None,
            start=_moment(fields.get("start")),
            end=_moment(fields.get("end")),
            policy=Policy.read(fields),
        )

    def fields(self) -> dict[str, Any]:
        """The JSON fields, without those that have their defaults."""
        fields: dict[str, Any] = {
            "task": self.task,
            "arguments": self.arguments,
            "queue": self.queue,
            "priority": self.priority,
            "cron": self.cron,
            "timezone": self.timezone,
        }
        if self.options is not None:
            fields |= msgspec.json.decode(self.options)
        for name, bound in (("start", self.start), ("end", self.end)):
            if bound is not None:
                fields[name] = bound.isoformat()
        for name in Policy.__dataclass_fields__:
            value = getattr(self.policy, name)
            if value != getattr(_POLICY, name):
                fields[name] = value
        return fields

    def declared(self) -> str:
        """The JSON text, the same for equal definitions."""
        return msgspec.json.encode(self.fields()).decode()

    def schedule(self) -> Schedule:
        """When it is due. Raises ``ConfigurationError`` if this version can't read it."""
        return read_schedule(self.cron, self.timezone, self.start, self.end)


def fingerprint(declared: str) -> str:
    """A short hash of ``Definition.declared``."""
    return hashlib.blake2b(declared.encode(), digest_size=8).hexdigest()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
