"""Recurring jobs as one reads them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ..._arguments import read_arguments
from ..._recurring.options import JOB, OPTIONS
from ..._recurring.recurring_job import RecurringJob
from ...job import JobState
from ..capped_count import CAP, CappedCount
from ..states import shown
from ..text import is_storable
from .table import RecurringTable, decoded, overrides_of


class Reading(RecurringTable):
    """Reads recurring jobs."""

    def get(self, id: str) -> RecurringJob | None:
        """The recurring job, or None if there is none with this id."""
        if not is_storable(id):
            return None
        found = self._read(self._select().where(self._row.c.id == id))
        return found[0] if found else None

    def all(self) -> list[RecurringJob]:
        """All recurring jobs, in the order of their ids."""
        return self._read(self._select().order_by(self._row.c.id))

    def upcoming(self, limit: int = 10) -> list[RecurringJob]:
        """Those whose next ticks come first."""
        row = self._row.c
        soonest = self._select().where(row.next_at.is_not(None)).order_by(row.next_at, row.id)
        return self._read(soonest.limit(limit))

    def count(self) -> CappedCount:
        """How many there are, counted up to a cap."""
        with self._database.connect() as connection:
            return self._count(connection)

    def _count(self, connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> CappedCount:
        some = sa.select(sa.literal(1)).select_from(self._row).where(*conditions).limit(CAP + 1)
        counted = sa.select(sa.func.count()).select_from(some.subquery())
        return CappedCount.of(connection.execute(counted).scalar_one())

    def _select(self) -> sa.Select[Any]:
        job = self._job.c
        return sa.select(
            self._row,
            shown(job).label("last_job_state"),
            job.created_at.label("last_job_at"),
        ).outerjoin(self._job, job.id == self._row.c.last_job_id)

    def _read(self, statement: sa.Select[Any]) -> list[RecurringJob]:
        with self._database.connect() as connection:
            return [read(row) for row in connection.execute(statement)]


def read(row: sa.Row[Any]) -> RecurringJob:
    """A recurring job from its row."""
    args, kwargs = read_arguments(row.arguments)
    return RecurringJob(
        args=args,
        kwargs=kwargs,
        declared=decoded(row.declared),
        overrides=overrides_of(row),
        last_job_state=None if row.last_job_state is None else JobState(row.last_job_state),
        **{option.name: option.read(getattr(row, option.column)) for option in _OPTIONS},
        **{name: getattr(row, name) for name in _PLAIN},
    )


_OPTIONS = [option for option in OPTIONS.values() if option.column != JOB]

_PLAIN = RecurringJob.__dataclass_fields__.keys() - (
    {option.name for option in _OPTIONS}
    | {"args", "kwargs", "declared", "overrides", "last_job_state"}
)
"""Attributes that are called as their columns are, and have the same values."""
