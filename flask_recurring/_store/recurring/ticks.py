"""Ticks: due times that become jobs.

**A tick happens once.** Whoever comes to a due row first locks it, and the others step over it. In
one transaction it then writes the tick under the unique pair (id, due time), the tick's job, and
the next due time. If it dies on the way nothing has happened, and the next one does it all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from ..awaiting import APART
from ..expiry import Expiry
from ..records import TickWrite
from ..types import now
from .table import RecurringTable


class DueRow(NamedTuple):
    """A recurring job whose next tick has come."""

    id: str
    task: str
    arguments: str
    queue: str
    priority: int
    options: str | None
    cron: str
    timezone: str
    start_at: datetime | None
    end_at: datetime | None
    misfire: str
    misfire_limit: int
    misfire_grace: float
    overlap: str
    jitter: float
    missed_reason: str | None
    """Why nobody ticked; the column ``absence``."""
    next_at: datetime
    now: datetime
    """The database's time when it was read."""


class Ticks(RecurringTable):
    """Finds what is due, and writes ticks."""

    def nearest(
        self, connection: sa.Connection, tasks: Sequence[str], without: Collection[str] = ()
    ) -> tuple[datetime, datetime | None]:
        """The database's time, and when the first recurring job of these tasks is due.

        :param without: ids of recurring jobs to look past.
        """
        row = self._row.c
        statement = (
            sa.select(now(), row.next_at)
            .where(row.next_at.is_not(None), row.task.in_(tasks), *self._but(without))
            .order_by(row.next_at)
            .limit(1)
        )
        found = connection.execute(statement).first()
        return (found[0], found[1]) if found else (self._database.clock(connection), None)

    def lock_due(
        self,
        connection: sa.Connection,
        tasks: Sequence[str],
        limit: int,
        without: Collection[str] = (),
    ) -> list[DueRow]:
        """Lock due recurring jobs of these tasks, stepping over those that others have locked.

        Call it within a transaction.

        :param without: ids of recurring jobs to look past.
        """
        row = self._row.c
        names = [name for name in DueRow._fields if name != "now"]
        columns = [row.absence if name == "missed_reason" else row[name] for name in names]
        statement = (
            sa.select(*columns, now())
            .where(row.next_at.is_not(None), row.next_at <= now(), row.task.in_(tasks))
            .where(*self._but(without))
            .order_by(row.next_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return list(map(DueRow._make, connection.execute(statement).all()))

    def _but(self, without: Collection[str]) -> list[sa.ColumnElement[bool]]:
        return [self._row.c.id.not_in(sorted(without))] if without else []

    def write_ticks(self, connection: sa.Connection, due: Sequence[TickWrite]) -> None:
        """Write ticks with their jobs and move the rows on, within the same transaction."""
        self._database.driver.write_ticks(connection, due)

    def tick_expiry(self, older_than: timedelta) -> Expiry:
        """History longer ago."""
        old = self._tick.c.created_at < now(-older_than.total_seconds())
        return Expiry(self._database, self._tick, old, by_age=True)


def options_of(options: str | None, overlap: str) -> str | None:
    """The options of a recurring job's run: with the mark that another may wait for its end."""
    if overlap not in APART:
        return options
    marked = {} if options is None else msgspec.json.decode(options)
    return msgspec.json.encode(marked | {"overlap": overlap}).decode()
