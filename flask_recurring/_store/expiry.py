"""Deleting rows that have been kept for long enough, in chunks.

A step takes the next rows in the order of the primary key, and deletes those of them that are old.
So it reads and locks a bounded number of rows, however many there are and whatever the planner
thinks of them. The next step goes on behind them: it does not walk again over what was deleted and
is not vacuumed yet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from .chunk import ChunkSize
from .database import Database

ANEW = 3600.0
"""Seconds after which it is looked from the beginning again: clocks are set back at times, and then
a row that is old stands behind younger ones."""


class Expiry:
    """The old rows of one table.

    :param old: true of a row that may go.
    :param by_age: whether the primary key is in the order of the rows' age, but for moments. Then
        nothing is looked for behind the first row that is too young.
    """

    def __init__(
        self, database: Database, table: sa.Table, old: sa.ColumnElement[bool], *, by_age: bool
    ) -> None:
        self._database = database
        self._table = table
        self._old = old
        self._by_age = by_age
        self._key: Sequence[sa.Column[Any]] = tuple(table.primary_key.columns)
        self._chunk = ChunkSize()
        self._after: Sequence[Any] | None = None
        self._anew_at = 0.0

    def delete_some(self, connection: sa.Connection) -> bool:
        """Delete the next chunk; True if there may be more."""
        if time.monotonic() >= self._anew_at:
            self._anew_at, self._after = time.monotonic() + ANEW, None
        return self._chunk.take(lambda rows: self._step(connection, rows))

    def _step(self, connection: sa.Connection, limit: int) -> bool:
        beyond = [] if self._after is None else [self._tuple() > self._tuple(self._after)]
        last = connection.execute(
            sa.select(*self._key, self._old.label("old"))
            .where(*beyond)
            .order_by(*self._key)
            .offset(limit - 1)
            .limit(1)
        ).first()
        end = None if last is None else tuple(last)[:-1]
        upto = [] if end is None else [self._tuple() <= self._tuple(end)]
        with self._database.driver.writing(connection):
            connection.execute(sa.delete(self._table).where(*beyond, *upto, self._old))
        if last is not None and (last.old or not self._by_age):
            self._after = end
            return True
        if not self._by_age:
            self._after = None
        return False

    def _tuple(self, values: Sequence[Any] | None = None) -> Any:
        parts: Sequence[Any] = self._key
        if values is not None:
            parts = [
                sa.literal(value, column.type)
                for value, column in zip(values, self._key, strict=True)
            ]
        return parts[0] if len(parts) == 1 else sa.tuple_(*parts)
