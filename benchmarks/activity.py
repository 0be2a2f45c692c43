"""What a database has done until now, by its own counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Activity:
    """Counters that only grow; the difference of two is what happened in between."""

    statements: int | None
    """Statements that clients sent; None where nobody counts them."""
    commits: int | None
    """Transactions that were committed. A connection tells after a second, or when it closes."""
    cpu_seconds: float | None
    """Time that the database's processes have computed; None if they aren't ours to look at."""

    def since(self, earlier: Self) -> Activity:
        """What happened after ``earlier``."""
        return Activity(
            _difference(self.statements, earlier.statements),
            _difference(self.commits, earlier.commits),
            None
            if self.cpu_seconds is None or earlier.cpu_seconds is None
            else self.cpu_seconds - earlier.cpu_seconds,
        )


def _difference(later: int | None, earlier: int | None) -> int | None:
    return None if later is None or earlier is None else later - earlier
