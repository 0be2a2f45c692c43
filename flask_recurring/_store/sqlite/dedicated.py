"""SQLite: the connections of a server's threads."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import sqlalchemy as sa

from .connection import raw


class Dedicated:
    """Sets up dedicated connections, and gives them up. See ``Driver``."""

    def adopt(self, connection: sa.Connection, role: str, statement_timeout: float) -> None:
        driver = raw(connection)
        driver.execute(f"PRAGMA busy_timeout = {round(statement_timeout * 1000)}")
        # What a server writes can be written again after a power cut; what a client enqueues
        # can't, so the pooled connections keep SQLite's stricter default.
        driver.execute("PRAGMA synchronous = NORMAL")

    def abort(self, driver: Any) -> None:
        with contextlib.suppress(sqlite3.Error):
            driver.interrupt()

    def abandon(self, driver: Any) -> None:
        return  # the locks on its files are the parent's alone

    def is_idle(self, connection: sa.Connection) -> bool:
        return not raw(connection).in_transaction

    def ping(self, connection: sa.Connection) -> None:
        raw(connection).execute("SELECT 1")
