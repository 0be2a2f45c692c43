"""What must be true once all is over."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise

import sqlalchemy as sa

from tests.chaos.application import TICKING
from tests.chaos.fleet import Client, Fleet
from tests.chaos.records import Run

UNWRITTEN = 2.0
"""Seconds: the end of a run that is no older may not have been written when its server died."""


def died_in_the_middle(fleet: Fleet) -> Callable[[Run], bool]:
    """Says whether the run's server was killed before it could write how the run ended."""

    def died(run: Run) -> bool:
        at = fleet.host_of(run).died_at
        return at is not None and (run.ended is None or run.ended > at - UNWRITTEN)

    return died


def never(run: Run) -> bool:
    """No run has an excuse."""
    return False


def check_jobs(
    fleet: Fleet, client: Client, ids: Iterable[int], excused: Callable[[Run], bool] = never
) -> None:
    """Every one of these jobs ran to its end, and none twice without an excuse for the first.

    :param excused: whether a run had a reason to be done again.
    """
    runs: defaultdict[int, list[Run]] = defaultdict(list)
    for run in fleet.runs():
        runs[run.job].append(run)
    states = client.states(ids)
    wrong: list[str] = []
    for id in states.keys() | set(ids):
        mine = runs[id]
        if states.get(id) != "Succeeded":
            wrong.append(f"job {id} is {states.get(id)}; its runs: {mine}")
        elif not any(run.succeeded for run in mine):
            wrong.append(f"job {id} never ran to its end: {mine}")
        elif sum(not excused(run) for run in mine) > 1:
            wrong.append(f"job {id} ran more than once: {mine}")
    assert not wrong, f"{len(wrong)} of {len(states)} jobs: " + "\n".join(wrong[:10])


def check_ticks(
    fleet: Fleet,
    client: Client,
    *,
    seconds: int,
    excused: Callable[[Run], bool] = never,
) -> int:
    """End the recurring job. None of its ticks was lost or doubled; returns how many there were.

    Servers must still run, to do what was ticked last.

    :param seconds: between two of them.
    """
    id = TICKING
    client.scheduler.pause(id)
    tables = client.store.database.tables
    tick, job = tables.tick.c, tables.job.c
    with client.store.database.connect() as connection:
        ticks = connection.execute(
            sa.select(tick.due, tick.job_id, tick.outcome)
            .where(tick.recurring_id == id)
            .order_by(tick.due)
        ).all()
        jobs = connection.execute(sa.select(job.id).where(job.recurring_id == id)).all()
    client.wait_until_finished([row.job_id for row in ticks], 10)
    dues = [row.due.timestamp() for row in ticks]
    assert {row.outcome for row in ticks} <= {"run"}
    assert len(set(dues)) == len(dues), "a tick stands twice in the history"
    assert {row.id for row in jobs} == {row.job_id for row in ticks}
    states = client.states(row.id for row in jobs)
    assert set(states.values()) <= {"Succeeded"}, states
    gaps = [(one, two) for one, two in pairwise(dues) if two - one != seconds]
    assert not gaps, f"ticks were lost: {gaps}"
    runs = Counter(run.due for run in fleet.runs() if run.due is not None and not excused(run))
    doubled = {due: count for due, count in runs.items() if count > 1}
    assert not doubled, f"ticks ran more than once: {doubled}"
    assert runs.keys() <= set(dues)
    return len(dues)
