"""PostgreSQL: what a server takes.

**Why the claim looks as it does.** Its inner part picks ids, lane by lane, each from the front of
``job_fetch``, skipping rows that another server is taking at this moment. The update then names its
rows as ``id = ANY(ARRAY(SELECT …))``: written as a join, the planner may scan the whole job table
once a batch is large. The statements that write ends are without a join for the same reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from ..chunks import chunked
from ..claim import LOST_LIMIT, Claimed, Lane, LaneDiscovery
from .arrays import literal
from .connection import raw
from .statements import Statements

LANES_AT_ONCE = 32
"""Lanes of one claim's statement: planning takes the square of their number in time."""


class Claim:
    """Finds lanes, claims jobs and releases them. See ``Driver``."""

    _sql: Statements

    def discover_lanes(self, connection: sa.Connection) -> LaneDiscovery:
        rows = raw(connection).execute(self._sql.discover_lanes, binary=True).fetchall()
        now, paused, *_ = rows[0]
        lanes = [Lane(*lane) for _, _, *lane in rows if lane[0] is not None]
        return LaneDiscovery(now, lanes, frozenset(paused))

    def claim(
        self,
        connection: sa.Connection,
        *,
        server_id: int,
        lanes: Sequence[Lane],
        tasks: Sequence[str],
        limit: int,
        lost_below: int = LOST_LIMIT,
    ) -> list[Claimed]:
        claimed: list[Claimed] = []
        for some in chunked(lanes, LANES_AT_ONCE):
            if len(claimed) < limit:
                room = limit - len(claimed)
                claimed += self._claim(connection, server_id, some, tasks, room, lost_below)
        return claimed

    def _claim(
        self,
        connection: sa.Connection,
        server_id: int,
        lanes: Sequence[Lane],
        tasks: Sequence[str],
        limit: int,
        lost_below: int,
    ) -> list[Claimed]:
        values: dict[str, Any] = {
            "tasks": list(tasks),
            "limit": limit,
            "server": server_id,
            "lost_below": lost_below,
        }
        for number, lane in enumerate(lanes):
            values[f"q{number}"] = lane.queue
            values[f"p{number}"] = lane.priority
            if lane.mark is not None:
                values[f"m{number}"] = lane.mark
        statement = self._sql.claim(tuple(lane.mark is not None for lane in lanes))
        rows = raw(connection).execute(statement, values, binary=True).fetchall()
        claimed = list(map(Claimed._make, rows))
        if len(claimed) > 1:
            # The update returns its rows in the order of their ids.
            claimed.sort(key=attrgetter("run_at", "id"))
        if len(lanes) > 1:
            place = {(lane.queue, lane.priority): number for number, lane in enumerate(lanes)}
            claimed.sort(key=lambda job: place[job.queue, job.priority])
        return claimed

    def release(self, connection: sa.Connection, jobs: Sequence[tuple[int, int]]) -> int:
        jobs = sorted(jobs)
        values = {
            "ids": literal([job[0] for job in jobs]),
            "claims": literal([job[1] for job in jobs]),
        }
        return raw(connection).execute(self._sql.release, values).rowcount
