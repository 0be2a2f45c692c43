"""The address of the jobs' database: checked, and brought to the driver that is used.

An address holds a password. None of the messages here repeat any part of it but the driver's name.
"""

from __future__ import annotations

import re

from sqlalchemy.engine import URL, make_url

_POSTGRESQL = frozenset({"postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"})
_SQLITE = frozenset({"sqlite", "sqlite+pysqlite"})
_DRIVER = re.compile(r"[a-z0-9_]{1,30}(\+[a-z0-9_]{1,30})?")

EXAMPLES = "postgresql://user:password@host/database or sqlite:////var/lib/app/jobs.sqlite3"


def normalise(address: str | URL) -> str:
    """The address with the driver that is used: psycopg for PostgreSQL, pysqlite for SQLite.

    :raises ValueError: it is no address, or one of another database or driver, or one of a SQLite
        database in memory. The message says what would be right, without the address.
    """
    try:
        url = make_url(address)
    except Exception:
        # What it raises may quote the password, so the error is not chained.
        raise ValueError(
            f"an address that can be read, such as {EXAMPLES}; special characters in the password "
            "are written as %XX"
        ) from None
    if url.drivername in _POSTGRESQL:
        return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    if url.drivername in _SQLITE:
        _refuse_no_file(url)
        return url.set(drivername="sqlite").render_as_string(hide_password=False)
    driver = url.drivername if _DRIVER.fullmatch(url.drivername) else "another database"
    if driver.startswith("postgresql+"):
        raise ValueError(
            f"an address with psycopg as its driver, postgresql://... or postgresql+psycopg://..., "
            f"not {driver}"
        )
    if driver.startswith("sqlite+"):
        raise ValueError(f"an address with Python's own driver, sqlite:///..., not {driver}")
    raise ValueError(f"an address of PostgreSQL or SQLite, such as {EXAMPLES}, not {driver}")


def _refuse_no_file(url: URL) -> None:
    if url.host:
        raise ValueError(
            "the path of a SQLite file after three slashes (sqlite:///relative.sqlite3) or four "
            "(sqlite:////absolute.sqlite3)"
        )
    database = url.database or ""
    in_memory = "mode=memory" in database or url.query.get("mode") == "memory"
    if not database or ":memory:" in database or in_memory:
        raise ValueError(
            "a SQLite database in a file, not in memory: each thread and process would see an "
            "empty database of its own; for tests use a file in a temporary directory"
        )
