"""The past of recurring jobs: ticks, and the runs that they got."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ..._recurring.recurring_job import PreviousRun, Tick, TickResult, Timing
from ...job import JobState
from ..states import shown
from ..text import is_storable
from .table import RecurringTable

_TICK = tuple(Tick.__dataclass_fields__)


class History(RecurringTable):
    """Reads a recurring job's past."""

    def timing(self, id: str, runs: int = 100) -> Timing:
        """How late its last runs were, and how long they took."""
        found = self.history(id, runs, self._tick.c.job_id.is_not(None))
        # Runs that were triggered were never due.
        late = [one.lateness for one in found if one.lateness is not None and one.tick.due]
        took = [one.duration for one in found if one.duration is not None]
        return Timing(
            runs=len(found),
            lateness_p50=percentile(late, 0.5),
            lateness_p95=percentile(late, 0.95),
            duration_p50=percentile(took, 0.5),
            duration_p95=percentile(took, 0.95),
        )

    def history(
        self, id: str, limit: int = 30, *conditions: sa.ColumnElement[bool]
    ) -> list[TickResult]:
        """The last entries of its history, newest first, with how their runs went.

        :param conditions: which entries.
        """
        if not is_storable(id):
            return []
        tick, job, attempt = self._tick.c, self._job.c, self._database.tables.attempt.c
        first = (
            sa.select(sa.func.min(attempt.started_at))
            .where(attempt.job_id == job.id)
            .scalar_subquery()
        )
        newest = (
            sa.select(self._tick)
            .where(tick.recurring_id == id, *conditions)
            .order_by(tick.id.desc())
            .limit(limit)
            .subquery()
        )
        statement = (
            sa.select(
                *(newest.c[name] for name in _TICK),
                *(shown(job).label("state"), job.started_at, job.finished_at),
                sa.type_coerce(first, job.started_at.type).label("first"),
            )
            .outerjoin(self._job, job.id == newest.c.job_id)
            .order_by(newest.c.id.desc())
        )
        with self._database.connect() as connection:
            return [_result(row) for row in connection.execute(statement)]

    def previous_run(self, id: str, job_id: int) -> PreviousRun | None:
        """The last run of the recurring job that succeeded and came before this job.

        Also one whose job is purged already; see ``purge``.
        """
        job, row = self._job.c, self._row.c
        there = (
            sa.select(job.id, job.due, job.started_at, job.finished_at)
            .where(job.recurring_id == id, job.id < job_id, job.state == JobState.SUCCEEDED.value)
            .order_by(job.id.desc())
            .limit(1)
        )
        noted = sa.select(
            *(row.success_job_id, row.success_due),
            *(row.success_started_at, row.success_finished_at),
        ).where(row.id == id, row.success_job_id < job_id)
        with self._database.connect() as connection:
            found = connection.execute(there).first() or connection.execute(noted).first()
        if found is None:
            return None
        return PreviousRun(job_id=found[0], due=found[1], started_at=found[2], finished_at=found[3])


def _result(row: Any) -> TickResult:
    tick = Tick(**{name: getattr(row, name) for name in _TICK})
    began = min((at for at in (row.first, row.started_at) if at is not None), default=None)
    since = tick.due or tick.created_at
    took = None
    if row.started_at is not None and row.finished_at is not None:
        took = (row.finished_at - row.started_at).total_seconds()
    return TickResult(
        tick=tick,
        state=None if row.state is None else JobState(row.state),
        started_at=row.started_at,
        finished_at=row.finished_at,
        lateness=None if began is None else (began - since).total_seconds(),
        duration=took,
    )


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest of the values that is no less than such a share of them."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]
