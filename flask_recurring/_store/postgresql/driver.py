"""PostgreSQL behind the ``Driver`` protocol.

**Pooled connections.** Behind PgBouncer in transaction mode a session's settings, prepared
statements and LISTEN belong to whoever comes next. That is noticed when a connection is opened
(the backend that answers is not the one that was announced), and then none of them is used.
"""

from __future__ import annotations

import sqlalchemy as sa

from ..schema import Tables
from .claim import Claim
from .complete import Complete
from .connection import raw
from .dedicated import Dedicated
from .encoding import carried_codec, database_codec
from .enqueue import Enqueue
from .liveness import Liveness
from .statements import Statements
from .throttle import Throttle
from .transactions import Transactions


class PostgreSQL(Transactions, Dedicated, Enqueue, Claim, Complete, Liveness):
    """See ``Driver``."""

    name = "postgresql"
    now = "now()"

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._channel = f"flask_recurring_{tables.schema}"[:63]
        self._throttle = Throttle()
        self._sql = Statements(tables)

    def prepare(self, connection: sa.Connection) -> None:
        return

    def codec(self, connection: sa.Connection) -> str | None:
        return database_codec(raw(connection))

    def carried_codec(self, connection: sa.Connection) -> str | None:
        return carried_codec(raw(connection))

    def before_fork(self) -> None:
        return

    def after_fork_in_parent(self) -> None:
        return

    def after_fork(self) -> None:
        return

    def describe(self, connection: sa.Connection, url: sa.URL) -> str:
        info = raw(connection).info
        version = info.parameter_status("server_version") or "?"
        host = info.host if not info.host.startswith("/") else "local socket"
        where = f"{host}:{info.port}" if not info.host.startswith("/") else host
        place = f"{where}/{info.dbname}"
        return f"PostgreSQL {version.split()[0]} · {place} · schema {self._tables.schema}"
