"""SQLite: what a server takes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ..claim import LOST_LIMIT, Claimed, Lane, LaneDiscovery
from ..types import from_microseconds, to_microseconds
from . import clock
from .batches import chunks
from .connection import raw
from .statements import Statements
from .transactions import Transactions

_IDS = msgspec.json.Decoder(list[int])
_ROWS = msgspec.json.Decoder(
    list[tuple[int, int, int, str, str, str, int, int, str | None, int | None, str | None, int]]
)


class Claim(Transactions):
    """Finds lanes, claims jobs and releases them. See ``Driver``."""

    _sql: Statements

    def discover_lanes(self, connection: sa.Connection) -> LaneDiscovery:
        driver = raw(connection)
        lanes: list[Lane] = []
        row = driver.execute(self._sql.first_lane).fetchone()
        while row is not None:
            lanes.append(Lane(row[0], row[1], from_microseconds(row[2])))
            row = driver.execute(self._sql.later_lane, row[:2]).fetchone()
        paused = frozenset(name for (name,) in driver.execute(self._sql.paused))
        return LaneDiscovery(from_microseconds(clock.now()), lanes, paused)

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
        driver = raw(connection)
        if not tasks:
            return []
        pick = self._sql.pick(len(tasks))
        picks = [(pick, self._lane_values(lane, lost_below, tasks)) for lane in lanes]
        # A look before the lock: an idle server must not keep others from writing.
        now = clock.now()
        if not any(_ids(driver, sql, (*values(now), 1)) for sql, values in picks):
            return []
        claimed: list[Claimed] = []
        with self.transaction(connection):
            if driver.execute(self._sql.alive, (server_id,)).fetchone() is None:
                return []
            now = clock.now()
            for sql, values in picks:
                if len(claimed) == limit:
                    break
                ids = _ids(driver, sql, (*values(now), limit - len(claimed)))
                if ids:
                    claimed += self._take(driver, ids, server_id, now)
        return claimed

    def _lane_values(self, lane: Lane, lost_below: int, tasks: Sequence[str]) -> Any:
        mark = 0 if lane.mark is None else to_microseconds(lane.mark)
        return lambda now: (lane.queue, lane.priority, now, mark, lost_below, *tasks)

    def _take(
        self, driver: sqlite3.Connection, ids: list[int], server_id: int, now: int
    ) -> list[Claimed]:
        taken: list[Claimed] = []
        for chunk in chunks(ids):
            driver.execute(self._sql.take(len(chunk)), (now, server_id, *chunk))
            (rows,) = driver.execute(self._sql.taken(len(chunk)), chunk).fetchone()
            taken += [
                Claimed._make(
                    (
                        *row[:7],
                        from_microseconds(row[7]),
                        (now - row[7]) / 1e6,
                        row[8],
                        None if row[9] is None else from_microseconds(row[9]),
                        *row[10:],
                    )
                )
                for row in _ROWS.decode(rows)
            ]
        place = {id: number for number, id in enumerate(ids)}
        taken.sort(key=lambda job: place[job.id])
        return taken

    def release(self, connection: sa.Connection, jobs: Sequence[tuple[int, int]]) -> int:
        with self.transaction(connection):
            now = clock.now()
            given = [{"now": now, "id": id, "claim": claim} for id, claim in jobs]
            return max(0, raw(connection).executemany(self._sql.release, given).rowcount)


def _ids(driver: sqlite3.Connection, sql: str, values: tuple[Any, ...]) -> list[int]:
    return _IDS.decode(driver.execute(sql, values).fetchone()[0])
