"""Deleting finished jobs that have been kept for long enough, with all that hangs on them.

A recurring job may say how many of its runs are kept. Then that alone decides about them: those
that it keeps are stepped over here, however old they are, and those beyond go by ``surplus``.

A run that succeeded is noted with its recurring job when it goes, unless a later one is there: the
next run may ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ..job import JobState
from .chunks import chunked
from .database import Database
from .types import now

CHUNK = 2_000
"""Jobs that are deleted in one transaction: it takes some ten milliseconds."""

IDS = 500
"""Recurring jobs that one statement asks for."""

SURVEYED = 5_000
"""Runs that are kept, of the recurring jobs that one statement looks through."""


@dataclass(slots=True)
class PurgeCursor:
    """How far a walk through finished jobs has come: those before it are gone, or are kept."""

    at: datetime | None = None
    id: int = 0


class Purge:
    """Deletes finished jobs in chunks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._job = database.tables.job
        self._recurring = database.tables.recurring_job

    def chunk(
        self,
        connection: sa.Connection,
        state: JobState,
        older_than: timedelta,
        place: PurgeCursor,
        note: Callable[[sa.Connection, int], None] | None = None,
        rows: int | None = None,
    ) -> tuple[int, bool]:
        """Delete the oldest ones in one transaction: how many, and whether more may be left.

        :param place: where to go on. It is moved behind those that were deleted or are kept.
        :param note: writes down, in the same transaction, how many were deleted, if any were.
        :param rows: how many are looked at; ``CHUNK`` by default.
        """
        job, limit = self._job.c, rows or CHUNK
        statement = (
            sa.select(*self._columns())
            .where(
                job.state == state.value,
                job.finished_at.is_not(None),
                job.finished_at < now(-older_than.total_seconds()),
            )
            .order_by(job.finished_at, job.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        if place.at is not None:
            there = sa.tuple_(
                sa.literal(place.at, job.finished_at.type), sa.literal(place.id, job.id.type)
            )
            statement = statement.where(sa.tuple_(job.finished_at, job.id) > there)
        with self._database.driver.transaction(connection):
            found = connection.execute(statement).all()
            keeping = self._keeping(connection, found)
            old = [row for row in found if row.recurring_id not in keeping]
            self._delete(connection, old)
            if old and note is not None:
                note(connection, len(old))
        if found:
            place.at, place.id = found[-1].finished_at, found[-1].id
        return len(old), len(found) == limit

    def surplus(
        self, connection: sa.Connection, after: str, rows: int | None = None
    ) -> tuple[int, str | None]:
        """Delete runs beyond those that recurring jobs keep: ``rows`` at most, or ``CHUNK``.

        Looks at some recurring jobs with ids after ``after``; returns how many runs were deleted,
        and after which id to go on, None at the end.
        """
        recurring, job, limit = self._recurring.c, self._job.c, rows or CHUNK
        keeping = connection.execute(
            sa.select(recurring.id, recurring.keep)
            .where(recurring.keep.is_not(None), recurring.id > after)
            .order_by(recurring.id)
            .limit(IDS)
        ).all()
        some: dict[str, int] = {}
        for row in keeping:
            if some and sum(some.values()) + row.keep > SURVEYED:
                break
            some[row.id] = row.keep
        if not some:
            return 0, None
        newest_first = sa.func.row_number().over(
            partition_by=job.recurring_id, order_by=job.id.desc()
        )
        ranked = (
            sa.select(job.id, job.recurring_id, newest_first.label("rank"))
            .where(job.recurring_id.in_(list(some)), job.finished_at.is_not(None))
            .subquery()
        )
        beyond = (
            sa.select(ranked.c.id)
            .join(self._recurring, recurring.id == ranked.c.recurring_id)
            .where(ranked.c.rank > recurring.keep)
            .limit(limit)
        )
        with self._database.driver.transaction(connection):
            ids = connection.execute(beyond).scalars().all()
            # Locked, and looked at again: one of them may have been requeued.
            lock = sa.select(*self._columns()).where(
                self._database.among(job.id, ids), job.finished_at.is_not(None)
            )
            found = connection.execute(lock.with_for_update(skip_locked=True)).all() if ids else []
            self._delete(connection, found)
        if len(ids) == limit:
            return len(found), after
        return len(found), list(some)[-1] if len(some) < len(keeping) or len(some) == IDS else None

    def _columns(self) -> list[sa.Column[Any]]:
        job = self._job.c
        return [job.id, job.state, job.recurring_id, job.due, job.started_at, job.finished_at]

    def _keeping(self, connection: sa.Connection, jobs: Sequence[sa.Row[Any]]) -> set[str]:
        """Which of the recurring jobs of these runs say how many are kept."""
        ids = sorted({row.recurring_id for row in jobs if row.recurring_id is not None})
        recurring = self._recurring.c
        return {
            id
            for some in chunked(ids, IDS)
            for id in connection.execute(
                sa.select(recurring.id).where(recurring.id.in_(some), recurring.keep.is_not(None))
            ).scalars()
        }

    def _delete(self, connection: sa.Connection, jobs: Sequence[sa.Row[Any]]) -> None:
        if not jobs:
            return
        self._note_successes(connection, jobs)
        ids = [row.id for row in jobs]
        tables = self._database.tables
        for table in (tables.console, tables.attempt):
            connection.execute(sa.delete(table).where(self._database.among(table.c.job_id, ids)))
        connection.execute(sa.delete(self._job).where(self._database.among(self._job.c.id, ids)))

    def _note_successes(self, connection: sa.Connection, jobs: Sequence[sa.Row[Any]]) -> None:
        """Keep what is known of the last success of a recurring job whose run goes."""
        newest: dict[str, sa.Row[Any]] = {}
        for row in jobs:
            if row.state == JobState.SUCCEEDED.value and row.recurring_id is not None:
                known = newest.get(row.recurring_id)
                newest[row.recurring_id] = row if known is None or row.id > known.id else known
        noted = [self._note(newest[id]) for id in sorted(self._without_later(connection, newest))]
        if noted:
            recurring = self._recurring.c
            values: dict[str, Any] = {
                name: sa.bindparam(name) for name in noted[0] if name != "recurring"
            }
            connection.execute(
                sa.update(self._recurring)
                .where(
                    recurring.id == sa.bindparam("recurring"),
                    sa.func.coalesce(recurring.success_job_id, 0) < sa.bindparam("success_job_id"),
                )
                .values(values),
                noted,
            )

    def _note(self, row: sa.Row[Any]) -> dict[str, Any]:
        return {
            "recurring": row.recurring_id,
            "success_job_id": row.id,
            "success_due": row.due,
            "success_started_at": row.started_at,
            "success_finished_at": row.finished_at,
        }

    def _without_later(
        self, connection: sa.Connection, newest: Mapping[str, sa.Row[Any]]
    ) -> list[str]:
        """Those recurring jobs of which no later success is there than these."""
        recurring, job = self._recurring.c, self._job.c
        found: list[str] = []
        for ids in chunked(sorted(newest), IDS):
            last = (
                sa.select(job.id)
                .where(job.recurring_id == recurring.id, job.state == JobState.SUCCEEDED.value)
                .order_by(job.id.desc())
                .limit(1)
                .scalar_subquery()
            )
            rows = connection.execute(
                sa.select(recurring.id, last.label("last")).where(recurring.id.in_(ids))
            )
            found += [row.id for row in rows if row.last is None or row.last <= newest[row.id].id]
        return found
