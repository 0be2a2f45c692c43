"""Queues exist by being used; a row here says only what an operator decided about one."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from .audit import APPLICATION, entry
from .database import Database
from .notification import Notification, Topic
from .types import now


class Queues:
    """The queue table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue = database.tables.queue

    def pause(self, name: str, actor: str = APPLICATION) -> None:
        """Let servers take nothing more from the queue. What runs goes on to its end."""
        self._set(name, now(), "queue.pause", actor)

    def resume(self, name: str, actor: str = APPLICATION) -> None:
        """Let servers take from the queue again."""
        self._set(name, None, "queue.resume", actor)

    def paused(self) -> dict[str, datetime]:
        """The queues that are paused, by name, and since when."""
        queue = self._queue.c
        statement = (
            sa.select(queue.name, queue.paused_at)
            .where(queue.paused_at.is_not(None))
            .order_by(queue.name)
        )
        with self._database.connect() as connection:
            return {row.name: row.paused_at for row in connection.execute(statement)}

    def _set(self, name: str, paused_at: now | None, action: str, actor: str) -> None:
        statement = (
            self._database.insert(self._queue)
            .values(name=name, paused_at=paused_at, created_at=now())
            .on_conflict_do_update(index_elements=["name"], set_={"paused_at": paused_at})
        )
        with self._database.begin() as connection:
            connection.execute(statement)
            connection.execute(entry(self._database.tables.audit, actor, action, name))
            self._database.driver.notify(connection, Notification(Topic.ANY))
