"""Lists and counts of jobs, each read along an index from where it begins to where it has enough.

Waiting jobs are read lane by lane (one queue at one priority), because inside a lane the index is
in the order of ``run_at``: the enqueued ones stand before the scheduled ones, and neither has to be
stepped over to reach the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..job import Job, JobState
from .capped_count import CAP, CappedCount
from .chunks import chunked
from .database import Database
from .page import Cursor
from .states import LISTED, shown

LANES_AT_ONCE = 32
"""Lanes that one statement reads. Each is a branch of it, and planners take long over many."""

LOOK = 5_000
"""Jobs that are looked at for a list that is narrowed by what no index knows: a rare task's few
jobs may lie behind millions of others, and an index of them would cost each job another write."""

Condition = sa.ColumnElement[bool]


class Found(NamedTuple):
    """A piece of a list."""

    rows: Sequence[sa.Row[Any]]
    more: bool
    """True if more follow, in the direction of reading."""
    end: Cursor | None
    """Where the look has ended, if none of the rest was looked at."""
    bounded: bool
    """True if it looks at no more than so many jobs."""


class _Way(NamedTuple):
    """How a list is read: along which key, and in which direction."""

    key: Sequence[sa.Column[Any]]
    ascending: bool

    def order(self, columns: Sequence[sa.ColumnElement[Any]]) -> list[sa.UnaryExpression[Any]]:
        return [column.asc() if self.ascending else column.desc() for column in columns]

    def beyond(self, cursor: Cursor | None) -> list[Condition]:
        """After the place of a cursor; a cursor of another kind of list is none."""
        if cursor is None or (len(self.key) > 1 and cursor.at is None):
            return []
        here, there = self._sides([cursor.at, cursor.id][-len(self.key) :])
        return [here > there if self.ascending else here < there]

    def until(self, end: Sequence[Any] | None) -> list[Condition]:
        """No further than to this key."""
        if end is None:
            return []
        here, there = self._sides(end)
        return [here <= there if self.ascending else here >= there]

    def _sides(self, values: Sequence[Any]) -> tuple[Any, Any]:
        pairs = zip(values, self.key, strict=True)
        there = [sa.literal(value, column.type) for value, column in pairs]
        return sa.tuple_(*self.key), sa.tuple_(*there)


class Listing:
    """Reads lists of jobs, for ``Jobs``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._job = database.tables.job
        self._in_state = {state: [*listed.where(self._job.c)] for state, listed in LISTED.items()}

    def select(self) -> sa.Select[Any]:
        """All that a ``Job`` is made of."""
        job, server = self._job.c, self._database.tables.server
        columns = [column for column in job if column.name != "state"]
        return sa.select(
            *(*columns, shown(job).label("state"), server.c.name.label("server"))
        ).outerjoin(server, server.c.id == job.ran_on)

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
        look: int = LOOK,
    ) -> Found:
        """Rows in the order of the list, from a place on in the direction of reading.

        :param look: jobs that are looked at, at most, if the filters ask for what no index knows.
        """
        by = _sorted_by(state, filters)
        key = [self._job.c[by], self._job.c.id] if by else [self._job.c.id]
        ascending = state is not None and LISTED[state].ascending
        if after is not None:
            ascending = not ascending
        way = _Way(key, ascending)
        walks, rest = self._walks(connection, state, filters)
        begin = way.beyond(after if after is not None else before)
        end = None
        bounded = bool(rest) and by != "started_at"  # of those that run there are few
        if bounded:
            end = self._end(connection, way, [[*walk, *begin] for walk in walks], look)
        where = [*begin, *rest, *way.until(end)]
        found = self._read(connection, way, [[*walk, *where] for walk in walks], limit + 1)
        more = len(found) > limit
        ids = [row[-1] for row in found[:limit]]
        if after is not None:
            ids.reverse()
        statement = self.select().where(self._job.c.id.in_(ids))
        rows = {row.id: row for row in connection.execute(statement)} if ids else {}
        return Found(
            [rows[id] for id in ids if id in rows],
            more,
            None if end is None or more else Cursor(end[0] if by else None, end[-1]),
            bounded,
        )

    def _walks(
        self, connection: sa.Connection, state: JobState | None, filters: Mapping[str, Any]
    ) -> tuple[list[list[Condition]], list[Condition]]:
        """Which stretches of which indexes hold the list, and what is to be asked of each row."""
        job, recurring_id, queue = self._job.c, filters["recurring_id"], filters["queue"]
        rest = [job.task == filters["task"]] if filters["task"] is not None else []
        of_queue = [job.queue == queue] if queue is not None else []
        in_state = [] if state is None else self._in_state[state]
        if recurring_id is not None:
            walk: list[Condition] = [job.recurring_id == recurring_id]
            if state is not None and not state.finished:
                walk.append(job.finished_at.is_(None))
            return [walk], [*rest, *of_queue, *in_state]
        if state is not None and LISTED[state].by_lane:
            lanes = self._lanes(connection, queue)
            return [
                [*in_state, job.queue == queue, job.priority == priority]
                for queue, priority in lanes
            ], rest
        return [in_state], [*rest, *of_queue]

    def _end(
        self, connection: sa.Connection, way: _Way, walks: Sequence[Sequence[Condition]], look: int
    ) -> tuple[Any, ...] | None:
        """The key up to which all walks together come by so many rows; None if they are done then.

        All that lies before it, in the order of the list, is among these rows.
        """
        ends: list[tuple[Any, ...]] = []
        share = max(1, look // max(1, len(walks)))
        for some in chunked(walks, LANES_AT_ONCE):
            branches = [
                sa.select(sa.literal(number).label("walk"), *way.key)
                .where(*walk)
                .order_by(*way.order(way.key))
                .offset(share - 1)
                .limit(2)
                .subquery()
                for number, walk in enumerate(some)
            ]
            last: dict[int, tuple[Any, ...]] = {}
            merged = sa.union_all(*(sa.select(branch) for branch in branches)).subquery()
            found = [tuple(row) for row in connection.execute(sa.select(merged))]
            for walk, *key in sorted(found, key=lambda row: row[1:], reverse=not way.ascending):
                if walk in last:
                    ends.append(last[walk])  # there is another one behind it
                last[walk] = tuple(key)
        return min(ends, default=None) if way.ascending else max(ends, default=None)

    def _read(
        self, connection: sa.Connection, way: _Way, walks: Sequence[Sequence[Condition]], limit: int
    ) -> list[Any]:
        """The first keys of all walks together."""
        rows: list[Any] = []
        statement = sa.select(*way.key).order_by(*way.order(way.key)).limit(limit)
        if len(walks) == 1:
            return list(connection.execute(statement.where(*walks[0])))
        for some in chunked(walks, LANES_AT_ONCE):
            branches = [statement.where(*walk).subquery() for walk in some]
            merged = sa.union_all(*(sa.select(branch) for branch in branches)).subquery()
            by_key = [merged.c[column.name] for column in way.key]
            rows += connection.execute(sa.select(*by_key).order_by(*way.order(by_key)).limit(limit))
        rows.sort(key=tuple, reverse=not way.ascending)
        return rows[:limit]

    def counts(self, connection: sa.Connection) -> dict[JobState, CappedCount]:
        """How many jobs are in each state, each counted up to the cap."""
        job = self._job.c
        one = sa.select(sa.literal(1))
        lanes = [
            (job.queue == queue, job.priority == priority)
            for queue, priority in self._lanes(connection, None)
        ]
        parts = [
            (state, one.where(*self._in_state[state], *lane))
            for state, listed in LISTED.items()
            for lane in (lanes if listed.by_lane else [()])
        ]
        found = dict.fromkeys(JobState, 0)
        for some in chunked(parts, 2 * LANES_AT_ONCE):
            counted = [
                sa.select(sa.func.count())
                .select_from(part.limit(CAP + 1).subquery())
                .scalar_subquery()
                for _, part in some
            ]
            numbers = connection.execute(sa.select(*counted)).one()
            for (state, _), number in zip(some, numbers, strict=True):
                found[state] += number
        return {state: CappedCount.of(number) for state, number in found.items()}

    def _lanes(self, connection: sa.Connection, queue: str | None) -> list[tuple[str, int]]:
        discover_lanes = self._database.driver.discover_lanes(connection)
        return [
            (lane.queue, lane.priority)
            for lane in discover_lanes.lanes
            if queue is None or lane.queue == queue
        ]


def _sorted_by(state: JobState | None, filters: Mapping[str, Any]) -> str | None:
    """The time that a list is sorted by; None for one that is sorted by id alone."""
    if filters["recurring_id"] is not None:
        return None
    return None if state is None else LISTED[state].by
