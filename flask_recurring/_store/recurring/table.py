"""What all that is known of recurring jobs shares: the tables, and the words for their rows."""

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
    """The recurring_job table and what belongs to it."""

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


def changed(row: sa.Row[Any], definition: Definition, moment: datetime) -> dict[str, Any]:
    """The columns of a row that is to become what ``definition`` says, its next tick included.

    Another schedule sets the next tick from ``moment`` on; otherwise it stays where it is.
    """
    values = columns(definition)
    values |= {"next_at": row.next_at, "held_at": row.held_at}
    names = ("cron", "timezone", "start_at", "end_at")
    if any(getattr(row, name) != values[name] for name in names):
        values[place(row)] = definition.schedule().next(moment)
    return values


def place(row: sa.Row[Any]) -> str:
    """The column in which the row's next tick stands."""
    return "held_at" if row.paused or row.orphaned_at is not None else "next_at"


def go_on(row: sa.Row[Any], held: datetime | None, why: str, moment: datetime) -> dict[str, Any]:
    """The columns of a row that ticks again, from the tick that was held on."""
    missed = held is not None and held <= moment
    return {"next_at": held, "held_at": None, "absence": why if missed else row.absence}


def overrides_of(row: sa.Row[Any]) -> dict[str, Any]:
    """What an operator has set. That it is paused stands in a column only."""
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
