"""PostgreSQL: the connections of a server's threads.

Sequential scans, sorts, hash and merge joins are switched off on them: the hot statements have
exactly one good plan, at one row and at millions, before and after a vacuum, and this leaves the
planner no other.
"""

from __future__ import annotations

import os
import socket
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.pq import TransactionStatus

from .connection import keep_alive, raw
from .liveness import PRESENCE
from .session import begin_session


class Dedicated:
    """Sets up dedicated connections, and gives them up. See ``Driver``."""

    def adopt(self, connection: sa.Connection, role: str, statement_timeout: float) -> None:
        driver = raw(connection)
        keep_alive(driver)
        connection.info["pooled"] = pooled = begin_session(driver)
        if pooled:
            return
        row = driver.execute(
            "SELECT set_config('application_name', %s, false),"
            " set_config('statement_timeout', %s, false),"
            # A process that stands still in the middle of a tick must not keep others from it.
            " set_config('idle_in_transaction_session_timeout', '5s', false),"
            " set_config('enable_seqscan', 'off', false),"
            " set_config('enable_sort', 'off', false),"
            " set_config('enable_hashjoin', 'off', false),"
            " set_config('enable_mergejoin', 'off', false),"
            " set_config('jit', 'off', false),"
            f" (SELECT {PRESENCE} FROM pg_stat_activity WHERE pid = pg_backend_pid())",
            (f"flask_recurring {role}", f"{round(statement_timeout * 1000)}ms"),
        ).fetchone()
        if row is not None:
            connection.info["presence"] = row[-1]
        # The few statements of a link are worth preparing at their first use already.
        driver.prepare_threshold = 1

    def abort(self, driver: Any) -> None:
        try:
            number = os.dup(driver.fileno())
        except (OSError, psycopg.Error):
            return  # closed meanwhile
        with socket.socket(fileno=number) as peer:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def abandon(self, driver: Any) -> None:
        try:
            number = driver.fileno()
        except psycopg.Error:
            return  # closed before the fork
        # The number stays taken, so that whatever libpq still does with it hits nobody else's file.
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            os.dup2(nothing, number, inheritable=False)
        finally:
            os.close(nothing)

    def is_idle(self, connection: sa.Connection) -> bool:
        return raw(connection).info.transaction_status == TransactionStatus.IDLE

    def ping(self, connection: sa.Connection) -> None:
        raw(connection).execute("SELECT 1")
