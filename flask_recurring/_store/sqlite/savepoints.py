"""Savepoints on connections that are not this package's own.

Python's sqlite3, as it is by default, begins a transaction before a statement that writes, but none
before a savepoint. One that comes first in a transaction is then outside of it: what was written
within is committed with the savepoint, and a rollback after it undoes nothing.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

import sqlalchemy as sa

LEGACY = -1
"""What ``sqlite3.Connection.autocommit`` is, from Python 3.12 on, if nobody has set it."""

SEEN = "flask_recurring.savepoint"
"""Key, in a connection's ``info``, of the transaction in which ``_begin`` has seen a savepoint."""


def begin_at_savepoints(engine: sa.Engine) -> None:
    """Let a savepoint on the engine's connections begin a transaction if there is none."""
    if engine.dialect.name == "sqlite" and not sa.event.contains(engine, "savepoint", _begin):
        sa.event.listen(engine, "savepoint", _begin)


def may_escape(connection: sa.Connection) -> bool:
    """True if a savepoint stands that may be outside of a transaction.

    SQLite doesn't say so. It is certain only of a savepoint that was set after
    ``begin_at_savepoints``.
    """
    if not connection.in_nested_transaction() or not _leaves_out_begin(connection):
        return False
    seen = connection.info.get(SEEN)
    return seen is None or seen() is not connection.get_transaction()


def _leaves_out_begin(connection: sa.Connection) -> bool:
    """True if the driver begins transactions by itself, and none at a savepoint."""
    if connection.dialect.name != "sqlite":
        return False
    driver: Any = connection.connection.dbapi_connection
    return driver.isolation_level is not None and getattr(driver, "autocommit", LEGACY) == LEGACY


def _begin(connection: sa.Connection, name: str) -> None:
    if not _leaves_out_begin(connection):
        return
    driver: Any = connection.connection.dbapi_connection
    if not driver.in_transaction:
        connection.exec_driver_sql("BEGIN")
    # The outermost only: one around it, that nobody has seen, may be what began the transaction.
    transaction = connection.get_transaction()
    if transaction is not None and not connection.in_nested_transaction():
        connection.info[SEEN] = ref(transaction)
