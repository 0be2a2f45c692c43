"""Queues exist by being used; a row here says only what an operator decided about one."""

from __future__ import annotations

from .database import Database
from .hint import Hint, Topic
from .types import now


class Queues:
    """The queue table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue = database.tables.queue

    def pause(self, name: str) -> None:
        """Let servers take nothing more from the queue. What runs goes on to its end."""
        self._set(name, paused=True)

    def resume(self, name: str) -> None:
        """Let servers take from the queue again."""
        self._set(name, paused=False)

    def _set(self, name: str, *, paused: bool) -> None:
        value = now() if paused else None
        statement = (
            self._database.insert(self._queue)
            .values(name=name, paused_at=value, created_at=now())
            .on_conflict_do_update(index_elements=["name"], set_={"paused_at": value})
        )
        with self._database.begin() as connection:
            connection.execute(statement)
            self._database.driver.announce(connection, Hint(Topic.ANY))
