"""Where worker processes wait, connected and with everything imported, until all may start at once.

The gate is an advisory lock in the database that they work on.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import psycopg

from tests.waiting import wait_for

KEY = 20_240_713


def pass_gate(dsn: str) -> None:
    """Wait until the gate is open, or was never closed."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock_shared(%s)", (KEY,))


class Gate:
    """Closed from the beginning of the block until it is opened."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)

    def __enter__(self) -> Self:
        self._connection.execute("SELECT pg_advisory_lock(%s)", (KEY,))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def open(self, processes: int) -> None:
        """Wait until so many stand before it, and let them through."""
        wait_for(lambda: self._waiting() == processes, 60.0, f"{processes} workers at the gate")
        self._connection.execute("SELECT pg_advisory_unlock(%s)", (KEY,))

    def _waiting(self) -> int:
        row = self._connection.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
            " WHERE locktype = 'advisory' AND NOT granted AND objid = %s"
            " AND datname = current_database()",
            (KEY,),
        ).fetchone()
        assert row is not None
        return int(row[0])
