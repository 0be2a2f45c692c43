"""Savepoints on connections that are not this package's own.

Python's sqlite3, as it is by default, begins a transaction before a statement that writes, but none
before a savepoint. One that comes first in a transaction is then outside of it: what was written
within is committed with the savepoint, and a rollback after it undoes nothing.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

LEGACY = -1
"""What ``sqlite3.Connection.autocommit`` is, from Python 3.12 on, if nobody has set it."""


def begin_at_savepoints(engine: sa.Engine) -> bool:
    """Let a savepoint on the engine's connections begin a transaction if there is none.

    False if this has been done before, or has no use because the database is another.
    """
    if engine.dialect.name != "sqlite" or sa.event.contains(engine, "savepoint", _begin):
        return False
    sa.event.listen(engine, "savepoint", _begin)
    return True


def leaves_out_begin(connection: sa.Connection) -> bool:
    """True if the driver begins transactions by itself, and none at a savepoint."""
    driver: Any = connection.connection.dbapi_connection
    return driver.isolation_level is not None and getattr(driver, "autocommit", LEGACY) == LEGACY


def _begin(connection: sa.Connection, name: str) -> None:
    driver: Any = connection.connection.dbapi_connection
    if leaves_out_begin(connection) and not driver.in_transaction:
        connection.exec_driver_sql("BEGIN")
