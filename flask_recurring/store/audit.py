"""Who did what: every action of an operator leaves an entry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from .database import Database
from .text import storable
from .types import now


@dataclass(frozen=True, slots=True)
class Entry:
    """One action."""

    id: int
    at: datetime
    actor: str
    action: str
    target: str
    detail: str


class Audit:
    """The audit table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._table = database.tables.audit

    def record(self, actor: str, action: str, target: str, detail: str = "") -> None:
        """Write one entry. What is too long is cut."""
        with self._database.begin() as connection:
            connection.execute(entry(self._table, actor, action, target, detail))

    def newest(self, limit: int = 50) -> list[Entry]:
        """The last entries, newest first."""
        statement = sa.select(self._table).order_by(self._table.c.id.desc()).limit(limit)
        with self._database.connect() as connection:
            return [Entry(*row) for row in connection.execute(statement)]

    def purge(self, connection: sa.Connection, older_than: timedelta) -> None:
        """Forget entries longer ago."""
        connection.execute(
            sa.delete(self._table).where(self._table.c.at < now(-older_than.total_seconds()))
        )


def entry(table: sa.Table, actor: str, action: str, target: str, detail: str = "") -> sa.Insert:
    """Writes one entry, in the transaction of what it tells of. What is too long is cut."""
    return sa.insert(table).values(
        at=now(),
        actor=storable(actor, 200),
        action=storable(action, 200),
        target=storable(target, 500),
        detail=storable(detail, 2000),
    )
