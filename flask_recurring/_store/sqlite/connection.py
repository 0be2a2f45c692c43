"""Connections to SQLite."""

from __future__ import annotations

import sqlite3

import sqlalchemy as sa


def raw(connection: sa.Connection) -> sqlite3.Connection:
    """The sqlite3 connection inside."""
    driver: sqlite3.Connection = connection.connection.dbapi_connection  # type: ignore[assignment]
    return driver
