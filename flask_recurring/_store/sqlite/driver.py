"""SQLite behind the ``Driver`` protocol: one file, and one writer at a time."""

from __future__ import annotations

import sqlite3
import threading

import sqlalchemy as sa

from ..schema import Tables
from ..types import SQLITE_NOW
from .claim import Claim
from .complete import Complete
from .dedicated import Dedicated
from .enqueue import Enqueue
from .liveness import Liveness
from .notifications import Notifications
from .statements import Statements


class SQLite(Enqueue, Claim, Complete, Dedicated, Notifications, Liveness):
    """See ``Driver``."""

    name = "sqlite"
    now = SQLITE_NOW

    def __init__(self, tables: Tables) -> None:
        Enqueue.__init__(self)
        Liveness.__init__(self)
        self._sql = Statements(tables)
        self._prefix = tables.prefix

    def codec(self, connection: sa.Connection) -> None:
        return  # in every encoding of SQLite's there is room for everything

    def carried_codec(self, connection: sa.Connection) -> None:
        return

    def after_fork(self) -> None:
        self._forking = threading.local()
        self._writing = threading.RLock()
        self._lock_file.release(unlink=False)

    def describe(self, connection: sa.Connection, url: sa.URL) -> str:
        return f"SQLite {sqlite3.sqlite_version} · {url.database}"
