"""Column types and SQL expressions that mean the same on every dialect."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

SQLITE_NOW = (
    "(strftime('%s','now') * 1000000 + CAST(substr(strftime('%f','now'), 4) AS INTEGER) * 1000)"
)
"""SQLite's clock, in microseconds since 1970 (it counts whole milliseconds)."""


def is_id(number: int) -> bool:
    """True if it could be a row's id. Databases refuse to look for numbers that they can't hold."""
    return 0 < number < 2**63


def to_microseconds(value: datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    return (value - EPOCH) // MICROSECOND


def from_microseconds(value: int) -> datetime:
    """The aware datetime, in UTC, of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=value)


class Instant(sa.types.TypeDecorator[datetime]):
    """A moment, as an aware datetime in UTC with microseconds.

    ``timestamptz`` in PostgreSQL, and read as microseconds since 1970. SQLite has no such type:
    there it is these microseconds, which sort and compare as they should.
    """

    impl = sa.BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(sa.BigInteger())

    def column_expression(self, column: ColumnElement[datetime]) -> ColumnElement[datetime]:
        # What is read of an application's own connection must not depend on how its session writes
        # dates, nor on the zone that it is in.
        return microseconds(column)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time needs a zone, got the naive {value!r}")
        return value if dialect.name == "postgresql" else to_microseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return from_microseconds(int(value))


class microseconds(ColumnElement[datetime]):
    """An instant as it is read: microseconds since 1970, in every dialect and session the same."""

    type = Instant()
    inherit_cache = True
    _traverse_internals = [  # noqa: RUF012
        ("column", sa.sql.visitors.InternalTraversal.dp_clauseelement)
    ]

    def __init__(self, column: ColumnElement[datetime]) -> None:
        self.column = column


@compiles(microseconds, "postgresql")
def _microseconds_postgresql(element: microseconds, compiler: Any, **kw: Any) -> str:
    return in_microseconds(compiler.process(element.column, **kw))


@compiles(microseconds, "sqlite")
def _microseconds_sqlite(element: microseconds, compiler: Any, **kw: Any) -> str:
    text: str = compiler.process(element.column, **kw)
    return text


def in_microseconds(column: str) -> str:
    """The same for PostgreSQL's hand-written statements."""
    return f"CAST(extract(epoch FROM {column}) * 1000000 AS bigint)"


class now(ColumnElement[datetime]):
    """The database's own clock, moved by ``seconds`` (which may be a bound value)."""

    type = Instant()
    inherit_cache = True
    _traverse_internals = [  # noqa: RUF012
        ("seconds", sa.sql.visitors.InternalTraversal.dp_clauseelement)
    ]

    def __init__(self, seconds: float | ColumnElement[float] = 0.0) -> None:
        self.seconds: ColumnElement[float] = (
            sa.literal(float(seconds), sa.Float()) if isinstance(seconds, (int, float)) else seconds
        )


class current(ColumnElement[datetime]):
    """The database's own clock at this moment, also in a transaction that has waited for a lock."""

    type = Instant()
    inherit_cache = True
    _traverse_internals = []  # noqa: RUF012


@compiles(current, "postgresql")
def _current_postgresql(element: current, compiler: Any, **kw: Any) -> str:
    return "clock_timestamp()"


@compiles(current, "sqlite")
def _current_sqlite(element: current, compiler: Any, **kw: Any) -> str:
    return SQLITE_NOW


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.seconds, **kw)
    return f"(now() + CAST({seconds} AS double precision) * interval '1 second')"


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.seconds, **kw)
    return f"({SQLITE_NOW} + CAST(({seconds}) * 1000000 AS INTEGER))"
