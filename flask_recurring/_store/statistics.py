"""Counts by minute. Servers add to them together with the completions they count."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from .database import Database
from .expiry import Expiry
from .types import now


@dataclass(frozen=True, slots=True)
class Minute:
    """What ended in one minute, on all servers."""

    at: datetime
    succeeded: int = 0
    failed: int = 0
    retried: int = 0


class Statistics:
    """The statistics table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._table = database.tables.statistics

    def series(self, minutes: int = 60) -> list[Minute]:
        """One entry for each of the last minutes, the present one included, oldest first."""
        column = self._table.c
        statement = (
            sa.select(
                column.minute,
                sa.func.sum(column.succeeded),
                sa.func.sum(column.failed),
                sa.func.sum(column.retried),
            )
            .where(column.minute > now(-60.0 * minutes))
            .group_by(column.minute)
        )
        with self._database.connect() as connection:
            present = self._database.clock(connection).replace(second=0, microsecond=0)
            found = {
                row[0]: Minute(row[0], *(int(count) for count in row[1:]))
                for row in connection.execute(statement)
            }
        times = [present - timedelta(minutes=ago) for ago in reversed(range(minutes))]
        return [found.get(at, Minute(at)) for at in times]

    def expiry(self, older_than: timedelta) -> Expiry:
        """Minutes longer ago."""
        old = self._table.c.minute < now(-older_than.total_seconds())
        return Expiry(self._database, self._table, old, by_age=True)
