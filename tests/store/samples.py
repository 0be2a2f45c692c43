"""Rows to put into a store, and ways to change the past of what is in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_recurring._arguments import NO_ARGUMENTS
from flask_recurring._recurring.definition import Definition
from flask_recurring._recurring.options import checked
from flask_recurring._recurring.recurring_job import Tick
from flask_recurring._store import NewJob, Store
from flask_recurring._store.types import now
from flask_recurring.job import Job

postgresql_only = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MOMENT = datetime(2024, 2, 29, 12, 30, 15, 999_999, tzinfo=UTC)
"""Some time in the past."""


def new_job(**values: Any) -> NewJob:
    """A job of the task ``work``."""
    return NewJob(**{"task": "work", "arguments": NO_ARGUMENTS, **values})


def definition(id: str = "nightly", **values: Any) -> Definition:
    """A recurring job of the task ``work``, due every minute.

    :param values: ``task``, ``arguments``, and options as ``override`` takes them.
    """
    fields = {
        "task": "work",
        "arguments": NO_ARGUMENTS,
        "queue": "default",
        "priority": 0,
        "cron": "* * * * *",
    }
    # Some tests want a schedule that nobody could declare.
    fields |= {name: values.pop(name) for name in ("cron", "timezone", *fields) if name in values}
    return Definition.of(id, fields, checked(values))


def fetch(store: Store, job_id: int) -> Job:
    """The job, which must exist."""
    job = store.jobs.get(job_id)
    assert job is not None, f"there is no job {job_id}"
    return job


def ticks_of(store: Store, id: str, limit: int = 20) -> list[Tick]:
    """The last ticks of a recurring job, newest first."""
    return [one.tick for one in store.recurring.history(id, limit)]


def row_count(store: Store, table: sa.Table) -> int:
    """How many rows the table has."""
    with store.database.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def write_rows(store: Store, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Put rows into a table as they are."""
    with store.database.begin() as connection:
        connection.execute(sa.insert(table), rows)


def fail(store: Store, column: sa.Column[Any], age: timedelta | float, *where: Any) -> None:
    """Let a time in all rows, or in those that fit, be so long ago."""
    seconds = age.total_seconds() if isinstance(age, timedelta) else age
    with store.database.begin() as connection:
        connection.execute(
            sa.update(column.table).where(*where).values({column.name: now(-seconds)})
        )


def change(store: Store, table: sa.Table, *where: Any, **values: Any) -> None:
    """Change all rows that fit, behind the back of the store."""
    with store.database.begin() as connection:
        connection.execute(sa.update(table).where(*where).values(**values))


def waiting_backends(store: Store) -> int:
    """How many connections of this database wait for a lock."""
    with store.database.connect() as connection:
        return int(
            connection.exec_driver_sql(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).scalar_one()
        )
