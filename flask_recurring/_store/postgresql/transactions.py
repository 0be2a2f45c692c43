"""PostgreSQL: transactions, and what may change the tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import sqlalchemy as sa

from ..schema import Tables
from .connection import raw


class Transactions:
    """Begins and ends transactions. See ``Driver``."""

    _tables: Tables

    @contextmanager
    def migrating(self, connection: sa.Connection, schema: str) -> Iterator[None]:
        with self.transaction(connection):
            connection.exec_driver_sql(
                "SELECT pg_advisory_xact_lock(hashtext('flask_recurring'), hashtext(%s))", (schema,)
            )
            yield

    def create_schema(self, connection: sa.Connection, schema: str) -> None:
        # Asked first: CREATE SCHEMA IF NOT EXISTS wants the right to create even if it exists.
        if schema not in sa.inspect(connection).get_schema_names():
            connection.execute(sa.schema.CreateSchema(schema))

    @contextmanager
    def transaction(self, connection: sa.Connection) -> Iterator[None]:
        # Whatever the database or the role prefers: nothing here is meant for another.
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
        with _ended(connection):
            yield

    @contextmanager
    def reading(self, connection: sa.Connection, timeout: float) -> Iterator[None]:
        # Two statements in one message, which can't be prepared.
        raw(connection).execute(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;"
            f" SET LOCAL statement_timeout = {_milliseconds(timeout)}",
            prepare=False,
        )
        with _ended(connection):
            yield

    def limit(self, connection: sa.Connection, timeout: float) -> None:
        raw(connection).execute(f"SET LOCAL statement_timeout = {_milliseconds(timeout)}")

    def writing(self, connection: sa.Connection) -> nullcontext[None]:
        return nullcontext()

    def exclude(self, connection: sa.Connection, section: str) -> None:
        connection.exec_driver_sql(
            "SELECT pg_advisory_xact_lock(hashtext('flask_recurring'), hashtext(%s))",
            (f"{self._tables.schema} {section}",),
        )


@contextmanager
def _ended(connection: sa.Connection) -> Iterator[None]:
    """Commit the transaction that was begun, or roll it back if the block raises."""
    try:
        yield
    except BaseException:
        if not connection.invalidated and not connection.closed:
            raw(connection).rollback()
        raise
    connection.exec_driver_sql("COMMIT")


def _milliseconds(seconds: float) -> int:
    """A time limit as PostgreSQL has it. Not 0, which would be none."""
    return max(1, round(seconds * 1000))
