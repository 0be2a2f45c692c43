"""Next ticks that were computed by other rules of time zones.

A host's time zone database is updated now and then. A next tick that lies ahead was written by the
rules of its time, so it is computed anew when code declares its row, and for the other rows when a
server starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..._recurring.schedule import read_schedule
from ..notification import Notification, Topic
from .table import RecurringTable

FIXED_ZONES = frozenset({"UTC", "Etc/UTC"})
"""Zones whose rules never change."""


class Corrections(RecurringTable):
    """Corrects next ticks."""

    def recheck(
        self, connection: sa.Connection, tasks: Sequence[str], after: str, limit: int
    ) -> str | None:
        """Correct rows that no code declares.

        Reads ``limit`` rows of these tasks with ids after ``after``. Returns the last id that it
        has read, None at the end.
        """
        row = self._row.c
        found = connection.execute(
            sa.select(row.id, row.next_at, row.cron, row.timezone, row.start_at, row.end_at)
            .where(row.id > after, row.task.in_(tasks), row.application.is_(None))
            .order_by(row.id)
            .limit(limit)
        ).all()
        instant = self._database.clock(connection)
        corrections = [one for row in found for one in correction(row, instant)]
        if corrections:
            with self._database.driver.transaction(connection):
                self._correct(connection, corrections)
                self._database.driver.notify(connection, Notification(Topic.SCHEDULE))
        return found[-1].id if len(found) == limit else None

    def _correct(self, connection: sa.Connection, corrections: Sequence[dict[str, Any]]) -> int:
        """Write corrections, except where somebody has moved the next tick meanwhile."""
        if corrections:
            row = self._row.c
            connection.execute(
                sa.update(self._row)
                .where(row.id == sa.bindparam("row_id"), row.next_at == sa.bindparam("wrong"))
                .values(next_at=sa.bindparam("right")),
                list(corrections),
            )
        return len(corrections)


def correction(row: Any, instant: datetime) -> list[dict[str, Any]]:
    """The change of a row's next tick, if it lies ahead and today's rules of time zones give
    another one."""
    if row.next_at is None or row.next_at <= instant or row.timezone in FIXED_ZONES:
        return []
    try:
        schedule = read_schedule(row.cron, row.timezone, row.start_at, row.end_at)
    except ValueError:
        return []  # a newer version wrote it
    right = schedule.next(instant)
    if right == row.next_at:
        return []
    return [{"row_id": row.id, "wrong": row.next_at, "right": right}]
