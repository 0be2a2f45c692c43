"""How many rows one transaction takes, by how long the last ones took.

What is deleted is locked until the end of its transaction, and on SQLite nobody else writes
meanwhile. On a slow disk few rows take as long as very many on a quick one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .errors import ErrorKind

LARGEST = 5_000
FIRST = 1_000

WORTHWHILE = 250
"""Rows below which a chunk is slow for other reasons: on a machine that is busy, each statement of
it waits its turn, however few they are. Only one that the database gave up makes it smaller."""

QUICK, SLOW = 0.05, 0.2
"""Seconds: after less than the one the next chunk is larger, after more than the other smaller."""


class ChunkSize:
    """A number of rows that fits."""

    def __init__(self) -> None:
        self.rows = FIRST

    def take(self, work: Callable[[int], bool]) -> bool:
        """Do the work on one chunk.

        A chunk that the database gave up, since it took too long, is no error: the next one is
        much smaller. It is one if it had a single row.

        :param work: is given a number of rows; returns whether there may be more.
        """
        before = time.monotonic()
        try:
            more = work(self.rows)
        except Exception as error:
            if ErrorKind.of(error) is not ErrorKind.SLOW or self.rows == 1:
                raise
            self.rows = max(1, self.rows // 8)
            return True
        took = time.monotonic() - before
        if took > SLOW:
            self.rows = max(min(self.rows, WORTHWHILE), self.rows // 2)
        elif took < QUICK:
            self.rows = min(LARGEST, self.rows * 2)
        return more
