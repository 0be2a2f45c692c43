"""Housekeeping that one server at a time does: whoever moves its row on has the turn."""

from __future__ import annotations

import sqlalchemy as sa

from .database import Database
from .types import now


class MaintenanceLocks:
    """Takes turns. The table is called ``chore``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._chore = database.tables.chore

    def take_turn(self, connection: sa.Connection, name: str, interval: float) -> bool:
        """True if the work is due and the caller is to do it. Then the next turn is set.

        :param interval: seconds to the next turn.
        """
        statement = self._database.insert(self._chore).values(name=name, next_at=now(interval))
        due = self._chore.c.next_at <= now()
        with self._database.driver.writing(connection):
            changed = connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["name"], set_={"next_at": now(interval)}, where=due
                ).returning(self._chore.c.name)
            )
            # Not its rowcount: SQLAlchemy keeps none for an insert.
            return changed.first() is not None
