"""The database's clock, as this process can read it without asking.

Only the distance between the database's clock and the process's monotonic clock is kept, so a step
of the host's own clock moves nothing.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta


class Clock:
    """Set from answers of the database, read in between. A rough reading for planning waits."""

    def __init__(self) -> None:
        self._origin: datetime | None = None

    def set(self, now: datetime, moment: float) -> None:
        """Note that it was ``now`` in the database when the monotonic clock stood at ``moment``."""
        self._origin = now - timedelta(seconds=moment)

    def now(self) -> datetime | None:
        """The database's time, None before the first answer."""
        if self._origin is None:
            return None
        return self._origin + timedelta(seconds=time.monotonic())

    def monotonic(self, at: datetime) -> float:
        """When the monotonic clock will show that it is ``at`` in the database."""
        if self._origin is None:
            return time.monotonic()
        return (at - self._origin).total_seconds()
