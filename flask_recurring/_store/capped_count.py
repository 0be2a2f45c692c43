"""A count that doesn't have to be read to its end."""

from __future__ import annotations

from dataclasses import dataclass

CAP = 10_000
"""Rows that are counted at most: whoever looks at a dashboard needs to know "many"."""


@dataclass(frozen=True, slots=True)
class CappedCount:
    """How many rows there are; ``capped`` says that there are more."""

    value: int
    capped: bool = False

    def __str__(self) -> str:
        return f"{self.value:,}+" if self.capped else f"{self.value:,}"

    @classmethod
    def of(cls, found: int) -> CappedCount:
        """From a count that stopped at ``CAP + 1``, or a sum of such counts."""
        return cls(min(found, CAP), found > CAP)
