"""Lets runs go that have waited for the end of another run of their recurring job.

Hastened when such a run ends on this server, and when a tick of this server had to wait. Now and
then besides, whoever it was that ended, was deleted, or died.
"""

from __future__ import annotations

import time

import sqlalchemy as sa

from .._random import rng
from .._store import Store

INTERVAL = 3.0
"""Seconds between two looks without a reason."""

OTHERS_TURN = 0.05
"""Seconds to wait when somebody else has locked the row of a recurring job, for example to tick."""


class Promoter:
    """See ``periodic_loop.PeriodicTask``."""

    name = "Promoting"

    def __init__(self, store: Store) -> None:
        self.next_at = time.monotonic() + rng.uniform(0, INTERVAL)
        self._store = store

    def perform(self, connection: sa.Connection) -> None:
        """Look once."""
        self.next_at = time.monotonic() + rng.uniform(0.8, 1.2) * INTERVAL
        notifications, left = self._store.recurring.promote(connection)
        if left:
            self.next_at = time.monotonic() + rng.uniform(0.5, 1.5) * OTHERS_TURN
        for notification in notifications:
            self._store.notify(notification)
