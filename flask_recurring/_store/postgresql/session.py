"""What a session of our own is set to, whatever the database, the role or the environment prefers.

Set once, when a connection is opened. Behind a pooler a session belongs to whoever comes next, so
nothing is set there but the client's encoding, which poolers keep for each client; what is read
there, and over the application's connections, doesn't depend on any of these.
"""

from __future__ import annotations

from typing import Any

import psycopg

from .connection import is_pooled
from .encoding import escape_unstorable

SETTINGS = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
}

_SET = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', false)" for name, value in SETTINGS.items()
)


def begin_session(driver: psycopg.Connection[Any]) -> bool:
    """Set up a connection that was just opened; returns whether it is a pooler's."""
    pooled = is_pooled(driver)
    if pooled:
        driver.rollback()  # what asked whether it is one: psycopg changes nothing in between
        driver.prepare_threshold = None
        # Of the transactions that psycopg begins.
        driver.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        if driver.info.parameter_status("client_encoding") != "UTF8":
            driver.execute("SET client_encoding TO 'UTF8'")
    else:
        driver.execute(_SET)
    escape_unstorable(driver)
    return pooled


def begin_pooled_session(dbapi: Any, record: Any) -> None:
    """Pool event: the same for a connection that goes into a pool of our own."""
    try:
        begin_session(dbapi)
        dbapi.commit()
    except BaseException:
        dbapi.close()  # the pool has not taken it yet, so nobody else would
        raise
