"""Lists of values as PostgreSQL's arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def literal(numbers: Sequence[int | str]) -> str:
    """An array of whole numbers (or ``NULL``), as PostgreSQL writes it.

    psycopg dumps a list item by item in Python, which takes as long as everything else that is done
    for a job's end; for plain numbers a join does. And it gives the array the smallest type, which
    a plan made once for all turns into that of the column again and again, for each row.
    """
    return f"{{{','.join(map(str, numbers))}}}"


def micros(seconds: float | None) -> int | str:
    """Seconds as an item of such an array, in microseconds."""
    return "NULL" if seconds is None else int(seconds * 1e6)


def some(values: list[Any]) -> list[Any] | None:
    """The values, or None if there is nothing but nulls: ``unnest`` fills up with them."""
    return values if any(value is not None for value in values) else None
