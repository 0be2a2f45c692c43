"""Who did what. Every act on a job, a recurring job or a queue leaves an entry, which is written in
the transaction of the act itself: there is none of the two without the other.

Not what servers do by themselves: runs, ticks, and deleting what was kept for long enough. Nor what
code declares: that is in the code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from .database import Database
from .expiry import Expiry
from .text import storable
from .types import now

APPLICATION = "the application"
"""Who did it, if nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
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

    def newest(self, limit: int = 50) -> list[AuditEntry]:
        """The last entries, newest first."""
        statement = sa.select(self._table).order_by(self._table.c.id.desc()).limit(limit)
        with self._database.connect() as connection:
            return [AuditEntry(*row) for row in connection.execute(statement)]

    def expiry(self, older_than: timedelta) -> Expiry:
        """Entries longer ago."""
        old = self._table.c.at < now(-older_than.total_seconds())
        return Expiry(self._database, self._table, old, by_age=True)


def entry(table: sa.Table, actor: str, action: str, target: str, detail: str = "") -> sa.Insert:
    """Writes one entry, in the transaction of what it tells of. What is too long is cut."""
    return sa.insert(table).values(at=now(), **_texts(actor, action, target, detail))


def entries_of(
    table: sa.Table, actor: str, action: str, entries: Iterable[tuple[str, str]]
) -> tuple[sa.Insert, list[dict[str, str]]]:
    """Writes an entry for each target and detail, as ``entry`` does: a statement and its values."""
    values = [_texts(actor, action, target, detail) for target, detail in entries]
    return sa.insert(table).values(at=now()), values


def _texts(actor: str, action: str, target: str, detail: str) -> dict[str, str]:
    return {
        "actor": storable(actor, 200),
        "action": storable(action, 200),
        "target": storable(target, 500),
        "detail": storable(detail, 2000),
    }
