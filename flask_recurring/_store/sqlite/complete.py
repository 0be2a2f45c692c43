"""SQLite: how runs ended, and what they wrote."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from ..completion import Failure, Success
from ..records import Accepted, ConsoleRow, Tally
from ..transitions import Event
from . import clock
from .batches import chunks, flat
from .connection import raw
from .statements import Statements
from .transactions import Transactions

MINUTE = 60_000_000
"""In microseconds."""


class Complete(Transactions):
    """Writes the ends of runs. See ``Driver``."""

    _sql: Statements

    def complete(
        self,
        connection: sa.Connection,
        successes: Sequence[Success],
        failures: Sequence[Failure],
        entries: Sequence[ConsoleRow],
        tallies: Iterable[Tally],
        server_id: int,
    ) -> Accepted:
        driver = raw(connection)
        with self.transaction(connection):
            now, measured = clock.now(), time.monotonic()

            def moment(at: float) -> int:
                return now - round((measured - at) * 1e6)

            lines = [(*entry[:3], moment(entry.moment), *entry[4:]) for entry in entries]
            for chunk in chunks(lines):
                driver.execute(self._sql.write_console(len(chunk)), flat(chunk))
            ends = [
                (run.id, run.claim, moment(run.started), moment(run.finished), run.result)
                for run in successes
            ]
            succeeded = sum(
                driver.execute(self._sql.succeed(len(chunk)), flat(chunk)).rowcount
                for chunk in chunks(ends)
            )
            failed = {
                run.id
                for run in failures
                if self._fail(driver, run, now, moment(run.started), moment(run.finished))
            }
            minute = now - now % MINUTE
            driver.executemany(
                self._sql.count, [(minute, tally.task, server_id, *tally[1:]) for tally in tallies]
            )
        return Accepted(succeeded, failed)

    def _fail(
        self, driver: sqlite3.Connection, run: Failure, now: int, began: int, ended: int
    ) -> bool:
        event = run.event
        row = driver.execute(
            self._sql.fail[event],
            {
                "id": run.id,
                "claim": run.claim,
                "retry_at": None if run.retry_in is None else now + round(run.retry_in * 1e6),
                "began": began,
                "ended": ended,
                "summary": run.summary,
            },
        ).fetchone()
        if row is None:
            return False
        ran_on, state, run_at = row
        retry_at = run_at if event is Event.RETRIED and state == event.target else None
        driver.execute(
            self._sql.insert_attempt,
            (*run[:3], run.outcome.value, began, ended, ran_on, *run[7:10], retry_at),
        )
        return True
