"""Lists and counts of jobs, each read along an index from where it begins to where it has enough.

Waiting jobs are read lane by lane (one queue at one priority), because inside a lane the index is
in the order of ``run_at``: the enqueued ones stand before the scheduled ones, and neither has to be
stepped over to reach the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ..arguments import read_arguments
from ..job import Job, JobState
from .count import CAP, Count
from .database import Database
from .page import Cursor
from .pieces import pieces
from .types import now

LANES_AT_ONCE = 32
"""Lanes that one statement reads. Each is a branch of it, and planners take long over many."""

WAITING_STATES = (JobState.ENQUEUED, JobState.SCHEDULED)
ASCENDING_STATES = (*WAITING_STATES, JobState.PROCESSING)
"""Listed by rising time: the next to run first, and the one that has run for longest."""


class Listing:
    """Reads lists of jobs, for ``Jobs``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._job = database.tables.job
        waiting = self._job.c.state == sa.literal_column("'Enqueued'")
        # Spelt as in the indexes' conditions, so that the planner sees that they apply.
        self._waiting = waiting
        self._awaiting = self._job.c.state == sa.literal_column("'Awaiting'")
        self._due = {
            JobState.ENQUEUED: self._job.c.run_at <= now(),
            JobState.SCHEDULED: self._job.c.run_at > now(),
        }

    def select(self) -> sa.Select[Any]:
        """All that a ``Job`` is made of."""
        job, server = self._job.c, self._database.tables.server
        state = sa.case(
            (
                (job.state == JobState.ENQUEUED.value) & (job.run_at > now()),
                JobState.SCHEDULED.value,
            ),
            else_=job.state,
        )
        columns = [column for column in job if column.name != "state"]
        return sa.select(*columns, state.label("state"), server.c.name.label("server")).outerjoin(
            server, server.c.id == job.ran_on
        )

    def cursor(self, state: JobState | None, filters: Mapping[str, Any], job: Job) -> Cursor:
        """The place of a job in its list."""
        return Cursor(getattr(job, _sorted_by(state, filters) or "", None), job.id)

    def rows(
        self,
        connection: sa.Connection,
        state: JobState | None,
        filters: Mapping[str, Any],
        before: Cursor | None,
        after: Cursor | None,
        limit: int,
    ) -> tuple[Sequence[sa.Row[Any]], bool]:
        """Rows in the order of the list, and whether there are more in the direction of reading."""
        ids = self._ids(connection, state, filters, before, after, limit + 1)
        more = len(ids) > limit
        ids = ids[:limit]
        if after is not None:
            ids.reverse()
        if not ids:
            return [], False
        found = {
            row.id: row for row in connection.execute(self.select().where(self._job.c.id.in_(ids)))
        }
        return [found[id] for id in ids if id in found], more

    def _ids(
        self,
        connection: sa.Connection,
        state: JobState | None,
        filters: Mapping[str, Any],
        before: Cursor | None,
        after: Cursor | None,
        limit: int,
    ) -> list[int]:
        job = self._job.c
        by = _sorted_by(state, filters)
        key = [job[by], job.id] if by else [job.id]
        ascending = (state in ASCENDING_STATES) != (after is not None)
        cursor = after if after is not None else before
        conditions = [job[name] == value for name, value in filters.items() if value is not None]
        if cursor is not None:
            place = [cursor.at, cursor.id] if by else [cursor.id]
            if None not in place:
                here = sa.tuple_(*key)
                there = sa.tuple_(
                    *(
                        sa.literal(value, column.type)
                        for value, column in zip(place, key, strict=True)
                    )
                )
                conditions.append(here > there if ascending else here < there)
        order = [column.asc() if ascending else column.desc() for column in key]
        statement = sa.select(*key).where(*conditions).order_by(*order).limit(limit)
        if state in WAITING_STATES and filters["recurring_id"] is None:
            statement = statement.where(self._waiting, self._due[state])
            rows: list[Any] = []
            for lanes in pieces(self._lanes(connection, filters["queue"]), LANES_AT_ONCE):
                branches = [
                    statement.where(job.queue == queue, job.priority == priority).subquery()
                    for queue, priority in lanes
                ]
                merged = sa.union_all(*(sa.select(branch) for branch in branches)).subquery()
                by_key = [merged.c[column.name] for column in key]
                order = [column.asc() if ascending else column.desc() for column in by_key]
                rows += connection.execute(sa.select(*by_key).order_by(*order).limit(limit))
            rows.sort(key=tuple, reverse=not ascending)
            return [row[-1] for row in rows[:limit]]
        if state in WAITING_STATES:
            statement = statement.where(self._waiting, self._due[state])
        elif state is JobState.PROCESSING:
            statement = statement.where(job.server_id.is_not(None))
        elif state is JobState.AWAITING:
            statement = statement.where(self._awaiting)
        elif state is not None:
            statement = statement.where(job.state == state.value, job.finished_at.is_not(None))
        return [row[-1] for row in connection.execute(statement)]

    def counts(self, connection: sa.Connection) -> dict[JobState, Count]:
        """How many jobs are in each state, each counted up to the cap."""
        job = self._job.c
        one = sa.select(sa.literal(1))
        parts = [
            (JobState.PROCESSING, one.where(job.server_id.is_not(None))),
            (JobState.AWAITING, one.where(self._awaiting)),
        ]
        parts += [
            (state, one.where(job.state == state.value, job.finished_at.is_not(None)))
            for state in JobState
            if state.finished
        ]
        parts += [
            (
                state,
                one.where(self._waiting, self._due[state]).where(
                    job.queue == queue, job.priority == priority
                ),
            )
            for queue, priority in self._lanes(connection, None)
            for state in WAITING_STATES
        ]
        found = dict.fromkeys(JobState, 0)
        for some in pieces(parts, 2 * LANES_AT_ONCE):
            counted = [
                sa.select(sa.func.count())
                .select_from(part.limit(CAP + 1).subquery())
                .scalar_subquery()
                for _, part in some
            ]
            numbers = connection.execute(sa.select(*counted)).one()
            for (state, _), number in zip(some, numbers, strict=True):
                found[state] += number
        return {state: Count.of(number) for state, number in found.items()}

    def _lanes(self, connection: sa.Connection, queue: str | None) -> list[tuple[str, int]]:
        survey = self._database.driver.survey(connection)
        return [
            (lane.queue, lane.priority)
            for lane in survey.lanes
            if queue is None or lane.queue == queue
        ]


def _sorted_by(state: JobState | None, filters: Mapping[str, Any]) -> str | None:
    """The time that a list is sorted by; None for one that is sorted by id alone."""
    if filters["recurring_id"] is not None:
        return None
    if state in WAITING_STATES:
        return "run_at"
    if state is JobState.PROCESSING:
        return "started_at"
    return None if state in (None, JobState.AWAITING) else "finished_at"


def read(row: sa.Row[Any]) -> Job:
    """A job from a row of ``Listing.select``."""
    args, kwargs = read_arguments(row.arguments)
    return Job(
        id=row.id,
        task=row.task,
        args=args,
        kwargs=kwargs,
        queue=row.queue,
        priority=row.priority,
        state=JobState(row.state),
        created_at=row.created_at,
        run_at=row.run_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempt=row.attempt,
        result=None if row.result is None else msgspec.json.decode(row.result),
        error=row.error,
        recurring_id=row.recurring_id,
        due=row.due,
        claim=row.claim,
        server=row.server,
        cancel_requested=row.cancel_requested,
    )
