"""PostgreSQL: how runs ended, and what they wrote."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

import psycopg
import sqlalchemy as sa

from ..completion import Failure, Success
from ..records import Accepted, ConsoleRow, Tally
from .arrays import literal, micros, some
from .connection import raw
from .statements import Statements

BY_CLAIM = itemgetter(0, 1)
"""Sorts ends of runs: statements look for what is given for an id by halving, and of two claims of
a job the later one counts."""


class Complete:
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
        counts = list(tallies)
        if successes and not (failures or entries or counts):
            return Accepted(self._succeed(driver, successes, time.monotonic()), set())
        # The transaction has one time, so there is one for what is reckoned from it. Taken before
        # it begins, lest a run seem to have begun before its job was made.
        moment = time.monotonic()
        with driver.transaction():
            # Lines before the end of their job: whoever sees the end sees all that was written.
            if entries:
                self._write_console(driver, entries, moment)
            succeeded = self._succeed(driver, successes, moment) if successes else 0
            failed = self._fail(driver, failures, moment) if failures else set()
            if counts:
                self._count(driver, counts, server_id)
        return Accepted(succeeded, failed)

    def _succeed(
        self, driver: psycopg.Connection[Any], successes: Sequence[Success], now: float
    ) -> int:
        successes = sorted(successes, key=BY_CLAIM)
        values: dict[str, Any] = {
            "ids": literal([run.id for run in successes]),
            "claims": literal([run.claim for run in successes]),
            "began": literal([int((now - run.started) * 1e6) for run in successes]),
            "ended": literal([int((now - run.finished) * 1e6) for run in successes]),
        }
        results = [run.result for run in successes]
        if any(result is not None for result in results):
            return driver.execute(
                self._sql.succeed_with_results, values | {"results": results}
            ).rowcount
        return driver.execute(self._sql.succeed, values).rowcount

    def _fail(
        self, driver: psycopg.Connection[Any], failures: Sequence[Failure], now: float
    ) -> set[int]:
        # A run may have been given back and have come to its end as well: the first word counts.
        first = {(run.id, run.claim): run for run in reversed(failures)}
        failures = [first[key] for key in sorted(first)]
        rows = driver.execute(
            self._sql.fail,
            {
                "ids": literal([run.id for run in failures]),
                "claims": literal([run.claim for run in failures]),
                "events": [run.event.key for run in failures],
                "delays": literal([micros(run.retry_in) for run in failures]),
                "outcomes": [run.outcome.value for run in failures],
                "attempts": literal([run.attempt for run in failures]),
                "began": literal([int((now - run.started) * 1e6) for run in failures]),
                "ended": literal([int((now - run.finished) * 1e6) for run in failures]),
                "types": [run.error_type for run in failures],
                "messages": [run.message for run in failures],
                "tracebacks": [run.traceback for run in failures],
                "summaries": [run.summary for run in failures],
            },
        ).fetchall()
        return {row[0] for row in rows}

    def _write_console(
        self, driver: psycopg.Connection[Any], entries: Sequence[ConsoleRow], now: float
    ) -> None:
        # The last value of a bar wins; one statement may write a row only once.
        latest = {(entry.job_id, entry.claim, entry.seq): entry for entry in entries}.values()
        driver.execute(
            self._sql.write_console,
            {
                "ids": literal([entry.job_id for entry in latest]),
                "claims": literal([entry.claim for entry in latest]),
                "seqs": literal([entry.seq for entry in latest]),
                "ago": literal([int((now - entry.moment) * 1e6) for entry in latest]),
                "texts": [entry.text for entry in latest],
                "colors": some([entry.color for entry in latest]),
                "levels": some([entry.level for entry in latest]),
                "values": some([entry.progress for entry in latest]),
                "more": some([entry.more for entry in latest]),
            },
        )

    def _count(
        self, driver: psycopg.Connection[Any], tallies: Sequence[Tally], server_id: int
    ) -> None:
        driver.execute(
            self._sql.count,
            {
                "server": server_id,
                "tasks": [tally.task for tally in tallies],
                "succeeded": [tally.succeeded for tally in tallies],
                "failed": [tally.failed for tally in tallies],
                "retried": [tally.retried for tally in tallies],
                "run": [tally.run_seconds for tally in tallies],
                "wait": [tally.wait_seconds for tally in tallies],
            },
        )
