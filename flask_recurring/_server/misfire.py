"""Which of a recurring job's due times get a run, after any time in which nobody ticked.

Every due time leaves an entry in the history. Of those that get no run, the newest are written one
by one; the ones before them, which may be millions, are told of by the entry of the last of them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from .._recurring.policy import Misfire, start_of
from .._recurring.schedule import Schedule
from .._store.records import TickWrite
from .._store.recurring import DueRow, options_of

SHOWN = 100
"""Entries of ticks without a run that are written one by one."""

COUNTED = 10_000
"""Ticks before them that are counted exactly."""

NOBODY = "no server was there in time"


def single(row: DueRow, following: datetime | None) -> TickWrite | None:
    """The row's tick if only one is due and it gets a run, which is nearly always so; else None.

    :param following: the due time after the row's.
    """
    if following is not None and following <= row.now:
        return None
    if row.misfire == Misfire.SKIP and _late(row, row.next_at) > row.misfire_grace:
        return None
    return run_of(row, row.next_at, following)


def all_due(row: DueRow, schedule: Schedule, shown: int = SHOWN) -> list[TickWrite]:
    """All that is due of a row, oldest first."""
    limit = 1 if row.misfire == Misfire.LATEST else row.misfire_limit
    # One more than is shown: the entry that tells of those before it.
    moments = schedule.newest(row.next_at, row.now, limit + shown + 1)
    following = schedule.next(moments[-1])
    runs = moments[-limit:]
    if row.misfire == Misfire.SKIP:
        runs = [moment for moment in runs if _late(row, moment) <= row.misfire_grace]
    missed = moments[: len(moments) - len(runs)][-shown - 1 :]
    reason = _reason(row)
    ticks = [_missed(row, moment, following, reason) for moment in missed]
    if ticks and missed[0] > row.next_at:
        before = schedule.count(row.next_at, missed[0], COUNTED)
        number = f"more than {COUNTED:,}" if before == COUNTED else f"{before:,}"
        ticks[0] = ticks[0]._replace(reason=f"{reason} (and {number} before it)")
    return ticks + [run_of(row, moment, following) for moment in runs]


def run_of(row: DueRow, due: datetime, following: datetime | None) -> TickWrite:
    """A tick that gets a run."""
    start = start_of(row.id, due, row.jitter) if row.jitter else None
    return TickWrite(
        recurring_id=row.id,
        due=due,
        next_at=following,
        task=row.task,
        arguments=row.arguments,
        queue=row.queue,
        priority=row.priority,
        options=options_of(row.options, row.overlap),
        start=start if start is not None and start > row.now else None,
    )


def _missed(row: DueRow, due: datetime, following: datetime | None, reason: str) -> TickWrite:
    return without_run(run_of(row, due, following), "missed", reason)


def without_run(tick: TickWrite, outcome: str, reason: str) -> TickWrite:
    """The tick as one that gets no run."""
    return tick._replace(outcome=outcome, reason=reason, task="", arguments="", options=None)


def _reason(row: DueRow) -> str:
    why = row.missed_reason or NOBODY
    match row.misfire:
        case Misfire.ALL:
            return f"{why}; the newest {row.misfire_limit:,} of those missed have run"
        case Misfire.SKIP:
            grace = timedelta(seconds=row.misfire_grace)
            return f"{why}, and it was late by more than {grace}"
    return f"{why}; the newest of those missed has run"


def _late(row: DueRow, due: datetime) -> float:
    return (row.now - due).total_seconds()
