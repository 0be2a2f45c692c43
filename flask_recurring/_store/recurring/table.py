"""The tables of recurring jobs, and how their rows change.

Two columns keep the names that earlier versions gave them. ``held_at`` is the next tick of a row
that is suspended, which means paused or orphaned. ``absence`` is the missed reason: why nobody
ticked, told in the history of what was missed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from ..._recurring.definition import Definition
from ..._recurring.options import JOB, OPTIONS, job_json
from ...errors import UnknownRecurringJobError
from ..awaiting import Awaiting
from ..database import Database
from ..notification import Notification

PAUSED = "it was paused"
ORPHANED = "no server's code declared it"


class RecurringTable:
    """The table ``recurring_job`` and those that belong to it."""

    def __init__(self, database: Database, notify: Callable[[Notification], None]) -> None:
        self._database = database
        self._row = database.tables.recurring_job
        self._tick = database.tables.tick
        self._job = database.tables.job
        self._awaiting = Awaiting(database)
        self._audit = database.tables.audit
        self._notify = notify


def columns(definition: Definition) -> dict[str, Any]:
    """The columns that hold what counts of a recurring job."""
    values: dict[str, Any] = {"task": definition.task, "arguments": definition.arguments}
    for name, option in OPTIONS.items():
        if option.column != JOB:
            value = definition.options.get(name, option.default)
            values[option.column] = option.stored(value)
    return values | {JOB: job_json(definition.options)}


def changed(row: sa.Row[Any], definition: Definition, instant: datetime) -> dict[str, Any]:
    """The columns of a row that is to become what ``definition`` says, its next tick included.

    A new schedule computes the next tick from ``instant`` on; otherwise it stays as it is.
    """
    values = columns(definition)
    values |= {"next_at": row.next_at, "held_at": row.held_at}
    names = ("cron", "timezone", "start_at", "end_at")
    if any(getattr(row, name) != values[name] for name in names):
        values[next_column(row)] = definition.schedule().next(instant)
    return values


def next_column(row: sa.Row[Any]) -> str:
    """The column that holds the row's next tick."""
    return "held_at" if row.paused or row.orphaned_at is not None else "next_at"


def resumed(
    row: sa.Row[Any], suspended_at: datetime | None, why: str, instant: datetime
) -> dict[str, Any]:
    """The columns of a row that ticks again, from the tick at which it was suspended.

    :param why: the missed reason, if that tick is due already.
    """
    missed = suspended_at is not None and suspended_at <= instant
    return {
        "next_at": suspended_at,
        "held_at": None,
        "absence": why if missed else row.absence,
    }


def overrides_of(row: sa.Row[Any]) -> dict[str, Any]:
    """What an operator has set. That the row is paused stands in a column of its own only."""
    overrides = decoded(row.overrides)
    return overrides | {"paused": True} if row.paused else overrides


def decoded(text: str | None) -> dict[str, Any]:
    """JSON fields, none if there is no text."""
    return {} if text is None else msgspec.json.decode(text)


def encoded(fields: dict[str, Any]) -> str | None:
    """The JSON text of fields, None for none."""
    return msgspec.json.encode(fields).decode() if fields else None


def unknown(id: str) -> UnknownRecurringJobError:
    """The error for an id that no recurring job has."""
    return UnknownRecurringJobError(f"there is no recurring job with the id {id!r}")
