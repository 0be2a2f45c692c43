"""SQLite: what stands for notifications.

``PRAGMA data_version`` tells in a microsecond whether anybody committed, so a server looks every
few hundredths of a second.
"""

from __future__ import annotations

import time

import sqlalchemy as sa

from ..._random import rng
from ..notification import Notification, Topic
from .connection import raw

LOOK_INTERVAL = 0.02
"""Seconds between two looks at ``data_version``."""


class Notifications:
    """Sees that something was committed. See ``Driver``."""

    def notify(self, connection: sa.Connection, notification: Notification) -> None:
        return  # the commit itself is what others see

    def listen(self, connection: sa.Connection) -> None:
        connection.info["data_version"] = self._version(connection)

    def receive(self, connection: sa.Connection, timeout: float) -> list[Notification]:
        deadline = time.monotonic() + timeout
        known = connection.info.get("data_version")
        while (version := self._version(connection)) == known:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return []
            # Irregular on purpose, so that of two hosts not always the same one looks first.
            time.sleep(min(remaining, rng.uniform(0.5, 1.5) * LOOK_INTERVAL))
        connection.info["data_version"] = version
        return [Notification(Topic.ANY)]

    def _version(self, connection: sa.Connection) -> int:
        return int(raw(connection).execute("PRAGMA data_version").fetchone()[0])
