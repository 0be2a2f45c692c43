"""What may happen to a job: from which states, to which one, and what its row says then.

Each event is one entry of ``Event``. Both dialects render their statements from it, once: as text
for the hot ones, as SQLAlchemy's for the others. So a new event, or a new state, begins here.

The values of columns are SQL, with the names of what the statement knows in braces:

======== ===========================================================
now      the database's time
server   the id of the server that claims
began    when the run began
ended    when the run ended
retry_at when the job may run again
result   what the run returned
error    kind and message of the error, on one line
======== ===========================================================

**A job that was asked to stop** is deleted when its run is over, whatever else was to become of it,
unless the run has succeeded: see ``Event.unless_stopped``.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from ..job import JobState

Columns = Mapping[str, str]
"""Names of columns, and the SQL of what they are set to."""

NONE = ()
RUNNING = (JobState.PROCESSING,)
WAITING = (JobState.AWAITING, JobState.ENQUEUED)
"""What the database holds of a job that waits: Scheduled is Enqueued there, see ``states``."""
OVER = tuple(state for state in JobState if state.finished)

OVER_NOW = {"started_at": "{began}", "finished_at": "{ended}", "server_id": "NULL"}
AGAIN = {"started_at": "NULL", "finished_at": "NULL", "server_id": "NULL"}
ANEW = {
    "run_at": "{now}",
    "started_at": "NULL",
    "finished_at": "NULL",
    "result": "NULL",
    "attempt": "0",
    "lost": "0",
    "cancel_requested": "false",
}


def quoted(state: JobState) -> str:
    """A state as SQL."""
    return f"'{state.value}'"


class Outcome(enum.StrEnum):
    """How a run ended that did not succeed, as its attempt keeps it."""

    FAILED = "Failed"
    CANCELLED = "Cancelled"
    LOST = "Lost"
    RELEASED = "HandedBack"


class Event(enum.Enum):
    """What may happen to a job: its name, the states it may be in, the one it is in then, the
    columns that are set, and how the run ended, if one did."""

    # fmt: off
    ENQUEUED = ("enqueued", NONE, JobState.ENQUEUED)
    AWAITED = ("awaited", NONE, JobState.AWAITING)
    PROMOTED = ("promoted", (JobState.AWAITING,), JobState.ENQUEUED,
                {"run_at": "CASE WHEN run_at > {now} THEN run_at ELSE {now} END"})

    CLAIMED = ("claimed", (JobState.ENQUEUED,), JobState.PROCESSING,
               {"claim": "claim + 1", "attempt": "attempt + 1", "started_at": "{now}",
                "server_id": "{server}", "ran_on": "{server}"})
    ASKED_TO_STOP = ("asked to stop", RUNNING, JobState.PROCESSING, {"cancel_requested": "true"})

    SUCCEEDED = ("succeeded", RUNNING, JobState.SUCCEEDED,
                 OVER_NOW | {"result": "{result}", "error": "NULL"})
    RETRIED = ("retried", RUNNING, JobState.ENQUEUED,
               AGAIN | {"run_at": "{retry_at}", "error": "{error}"}, Outcome.FAILED)
    FAILED = ("failed", RUNNING, JobState.FAILED, OVER_NOW | {"error": "{error}"}, Outcome.FAILED)
    CANCELLED = ("cancelled", RUNNING, JobState.DELETED,
                 OVER_NOW | {"error": "{error}"}, Outcome.CANCELLED)
    RELEASED = ("released", RUNNING, JobState.ENQUEUED,
                AGAIN | {"attempt": "attempt - 1"}, Outcome.RELEASED)
    LOST = ("lost", RUNNING, JobState.ENQUEUED,
            AGAIN | {"lost": "lost + 1", "error": "{error}"}, Outcome.LOST)
    PARKED = ("parked", RUNNING, JobState.FAILED,
              OVER_NOW | {"lost": "lost + 1", "error": "{error}"}, Outcome.LOST)

    DELETED = ("deleted", (*WAITING, JobState.SUCCEEDED, JobState.FAILED), JobState.DELETED,
               {"finished_at": "{now}", "cancel_requested": "false"})
    REPLACED = ("replaced", WAITING, JobState.DELETED, {"finished_at": "{now}"})
    REQUEUED = ("requeued", (*WAITING, *OVER), JobState.ENQUEUED, ANEW)
    REQUEUED_APART = ("requeued apart", OVER, JobState.AWAITING, ANEW)
    # fmt: on

    def __init__(
        self,
        key: str,
        sources: tuple[JobState, ...],
        target: JobState,
        sets: Columns | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        self.key = key
        self.sources = sources
        self.target = target
        self.outcome = outcome
        self.columns: Columns = {"state": quoted(target), **(sets or {})}

    @property
    def state(self) -> str:
        """The state that it leads to, as SQL."""
        return quoted(self.target)

    @property
    def where(self) -> str:
        """The condition that it may happen, as SQL."""
        return among(self.sources)

    @property
    def unless_stopped(self) -> Columns:
        """What the end of a run sets, given that the job may have been asked to stop."""
        return choose("cancel_requested", self._stopped, self.columns)

    @property
    def _stopped(self) -> Columns:
        return {**self.columns, **OVER_NOW, "state": quoted(JobState.DELETED)}

    def leaves(self, state: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        """The condition that it may happen to a row with this state."""
        return in_states(state, self.sources)


ENDS = (Event.RETRIED, Event.FAILED, Event.CANCELLED, Event.RELEASED)
"""How a server says that a run ended that did not succeed."""


def among(states: Iterable[JobState]) -> str:
    """The condition to be in one of these states, as SQL."""
    values = [quoted(state) for state in states]
    return f"state = {values[0]}" if len(values) == 1 else f"state IN ({', '.join(values)})"


def in_states(state: sa.ColumnElement[Any], states: tuple[JobState, ...]) -> sa.ColumnElement[bool]:
    """The same for SQLAlchemy."""
    values = [one.value for one in states]
    return state == values[0] if len(values) == 1 else state.in_(values)


def choose(condition: str, then: Columns, otherwise: Columns) -> Columns:
    """Columns of which some depend on a condition. One that only one side sets stays otherwise."""
    chosen = {}
    for name in dict.fromkeys((*otherwise, *then)):
        yes, no = then.get(name, name), otherwise.get(name, name)
        chosen[name] = yes if yes == no else f"CASE WHEN {condition} THEN {yes} ELSE {no} END"
    return chosen


def by_event(event: str, events: Iterable[Event]) -> Columns:
    """What the ends of runs set, of which each row has its own; ``event`` is the SQL of its key."""
    every = tuple(events)

    def any_of(columns: Mapping[Event, Columns]) -> Columns:
        return {
            name: _case(event, {one: columns[one].get(name, name) for one in every})
            for name in dict.fromkeys(name for one in every for name in columns[one])
        }

    return choose(
        "cancel_requested",
        any_of({one: one._stopped for one in every}),
        any_of({one: one.columns for one in every}),
    )


def _case(event: str, values: Mapping[Event, str]) -> str:
    """A column's value by event. What most of them say is said once."""
    counted = list(values.values())
    most = max(dict.fromkeys(counted), key=counted.count)
    cases = [f"WHEN '{one.key}' THEN {value}" for one, value in values.items() if value != most]
    return f"CASE {event} {' '.join(cases)} ELSE {most} END" if cases else most


def assignments(columns: Columns, **known: str) -> str:
    """What stands behind SET. ``known`` is the SQL of what stands in braces."""
    return ", ".join(f"{name} = {value.format(**known)}" for name, value in columns.items())


def values(columns: Columns, **known: str) -> dict[str, sa.ColumnElement[Any]]:
    """The same for SQLAlchemy's ``values``."""
    return {name: sa.literal_column(value.format(**known)) for name, value in columns.items()}
