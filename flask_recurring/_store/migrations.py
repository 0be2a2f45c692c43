"""How a database comes to the newest version of the schema, by itself and only once.

An empty database gets the newest tables at once and is stamped with the newest version. One that
holds an older version runs the steps between, in order, in one transaction with the stamp. Any
number of processes may start together: the first takes a lock, the others wait for it and find
nothing left to do.

A database that is *newer* than this code is left alone and used: during a rolling deployment the
old hosts go on beside the new ones, so a migration must keep what the version before it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from .._log.logger import logger
from .driver import Driver
from .schema import Tables
from .types import Instant, now


class Migrated(Protocol):
    """What is asked of a database that is to be migrated."""

    driver: Driver
    schema: str
    tables: Tables

    def connect(self) -> AbstractContextManager[sa.Connection]:
        """A connection in which each statement commits by itself."""


@dataclass(frozen=True)
class Migration:
    """One step: what turns version ``version - 1`` into ``version``."""

    version: int
    name: str
    upgrade: Callable[[sa.Connection, Tables], None]


def _add_column(connection: sa.Connection, column: sa.Column[Any]) -> None:
    """Add a column to a table that lacks it; it must be one that may be null."""
    table = connection.dialect.identifier_preparer.format_table(column.table)
    kind = column.type.compile(connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column.name} {kind}")


def _to_version_3(connection: sa.Connection, tables: Tables) -> None:
    _add_column(connection, tables.server.c.overdue_at)
    _add_column(connection, tables.server.c.lease_ends_at)


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        2,
        "several console lines in a row",
        lambda connection, tables: _add_column(connection, tables.console.c.more),
    ),
    Migration(3, "leases of servers", _to_version_3),
)
"""The steps after version 1. A database that holds nothing yet gets what they lead to at once."""


def migrate(database: Migrated, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Bring the database to the newest version; returns the version that it has then."""
    newest = _newest(migrations)
    stamp = _stamp(database.tables)
    with database.connect() as connection:
        found = _version(connection, stamp)
        if found is not None and found >= newest:
            if found > newest:
                logger.warning(
                    "The database holds version %s of the schema, this code knows %s: going on, "
                    "since a newer host beside this one is an ordinary deployment.",
                    found,
                    newest,
                )
            return found
        database.driver.prepare(connection)
        with database.driver.migrating(connection, database.schema):
            found = _version(connection, stamp)
            if found is None:
                database.driver.create_schema(connection, database.schema)
                database.tables.metadata.create_all(connection)
                stamp.create(connection, checkfirst=True)
                found = newest
                _record(connection, stamp, newest, "created")
            for step in sorted(migrations, key=lambda step: step.version):
                if step.version > found:
                    step.upgrade(connection, database.tables)
                    _record(connection, stamp, step.version, step.name)
                    found = step.version
    return found


def complete(database: Migrated) -> None:
    """Bring the database to the newest version, and make what is missing of its tables.

    ``migrate`` goes by the version alone, so it doesn't see that somebody dropped a table. What is
    there is left as it is.
    """
    if migrate(database) > _newest(MIGRATIONS):
        return
    with database.connect() as connection, database.driver.migrating(connection, database.schema):
        database.tables.metadata.create_all(connection)


def owns(database: Migrated, table: str, schema: str | None) -> bool:
    """True if a table of this name is one of the package's.

    :param schema: the schema that it is in; None for the one that connections have by default.
    """
    stamp = _stamp(database.tables)
    if table not in {known.name for known in (*database.tables.metadata.sorted_tables, stamp)}:
        return False
    if stamp.schema == schema:
        return True
    if schema is not None:
        return False
    # A role may have the package's schema as its default: PostgreSQL takes one of the role's name.
    with database.connect() as connection:
        return connection.dialect.default_schema_name == stamp.schema


def _newest(migrations: Sequence[Migration]) -> int:
    return max((step.version for step in migrations), default=1)


def _stamp(tables: Tables) -> sa.Table:
    return sa.Table(
        f"{tables.prefix}schema_version",
        sa.MetaData(schema=tables.schema),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("applied_at", Instant, nullable=False),
    )


def _version(connection: sa.Connection, stamp: sa.Table) -> int | None:
    if not sa.inspect(connection).has_table(stamp.name, schema=stamp.schema):
        return None
    version: int | None = connection.scalar(sa.select(sa.func.max(stamp.c.version)))
    return version


def _record(connection: sa.Connection, stamp: sa.Table, version: int, name: str) -> None:
    connection.execute(sa.insert(stamp).values(version=version, name=name, applied_at=now()))
