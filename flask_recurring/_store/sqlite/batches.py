"""Rows of which one statement writes many.

Python's sqlite3 lets go of the interpreter's lock at each step of a statement, and takes it back
among the threads that run jobs, which costs more than the step itself. So a statement writes many
rows, and what many rows answer comes back as one JSON text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

SIZES = (100, 25, 5, 1)
"""Rows of one statement. Few sizes, so that SQLite's driver keeps each statement prepared."""


def chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows in pieces of the sizes above, the largest first."""
    begin = 0
    for size in SIZES:
        while len(rows) - begin >= size:
            yield rows[begin : begin + size]
            begin += size


def flat(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """All values of the rows, one after the other."""
    return [value for row in rows for value in row]
