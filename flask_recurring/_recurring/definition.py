"""What somebody wants a recurring job to be, and the JSON that keeps it.

What the code gave and what an operator put in its place are kept apart, as JSON objects of the same
names. ``Definition.of`` joins them to what counts. A default stands in no JSON, so an option that a
later version adds changes no text that is kept, and no hash of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from .options import OPTIONS, instant
from .schedule import Schedule, read_schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A recurring job as a decorator or ``add_or_update`` gives it."""

    id: str
    task: str
    arguments: str
    """JSON, as a job has it."""
    options: Mapping[str, Any]
    """JSON values by the names of the options, in their order, without those of defaults."""

    @classmethod
    def of(cls, id: str, *layers: Mapping[str, Any]) -> Self:
        """The definition that JSON fields make, later layers over earlier ones.

        Fields and words that only a newer version knows are passed over.
        """
        fields: dict[str, Any] = {}
        for layer in layers:
            fields |= layer
        values = {name: option.known(fields.get(name)) for name, option in OPTIONS.items()}
        return cls(
            id=id,
            task=fields["task"],
            arguments=fields["arguments"],
            options={
                name: value
                for name, value in values.items()
                if OPTIONS[name].always or value != OPTIONS[name].default
            },
        )

    def fields(self) -> dict[str, Any]:
        """The JSON fields, without those that have their defaults."""
        return {"task": self.task, "arguments": self.arguments, **self.options}

    def declared(self) -> str:
        """The JSON text, the same for equal definitions."""
        return msgspec.json.encode(self.fields()).decode()

    def schedule(self) -> Schedule:
        """When it is due. Raises ``ConfigurationError`` if this version can't read it."""
        given = self.options
        bounds = instant(given.get("start")), instant(given.get("end"))
        return read_schedule(given["cron"], given["timezone"], *bounds)

    def check_schedule(self) -> Schedule:
        """When it is due. Raises ``ConfigurationError`` if it never is."""
        found = self.schedule()
        return Schedule.of(found.cron, timezone=found.timezone, start=found.start, end=found.end)


def fingerprint(declared: str) -> str:
    """A short hash of ``Definition.declared``."""
    return hashlib.blake2b(declared.encode(), digest_size=8).hexdigest()
