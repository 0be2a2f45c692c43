"""Fixtures for time: those of the store, on both databases."""

from __future__ import annotations

from tests.store.conftest import (
    connection,
    database_url,
    hire,
    open_store,
    postgres_store_url,
    prepared_postgres,
    prepared_sqlite,
    sqlite_store_url,
    store,
    worker,
)

__all__ = [
    "connection",
    "database_url",
    "hire",
    "open_store",
    "postgres_store_url",
    "prepared_postgres",
    "prepared_sqlite",
    "sqlite_store_url",
    "store",
    "worker",
]
