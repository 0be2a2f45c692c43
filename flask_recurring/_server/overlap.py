"""What a tick does while a run of the same recurring job is still going.

Decided in the tick's own transaction, under the lock on the recurring job's row: nobody else ticks
for it meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._recurring.policy import Overlap
from .._store.records import TickWrite
from .._store.recurring import ActiveRuns
from .misfire import without_run

GOING = "the run before was still going"
RETRYING = "the run before has failed and waits for its retry"
WAITING = "another run was waiting already"
REPLACED = "a newer tick took its place"


def decide(overlap: str, ticks: Sequence[TickWrite], active: ActiveRuns) -> list[TickWrite]:
    """The ticks of one recurring job, oldest first, with what the policy makes of them."""
    runs = [tick for tick in ticks if tick.outcome == "run"]
    rest = [tick for tick in ticks if tick.outcome != "run"]
    match overlap:
        case Overlap.SKIP:
            first = 0 if active.jobs or active.awaiting else 1
            reason = _reason(active)
            runs = runs[:first] + [without_run(tick, "skipped", reason) for tick in runs[first:]]
        case Overlap.QUEUE:
            places = [] if active.awaiting else [True]
            if not active.jobs and not active.awaiting:
                places.insert(0, False)
            taken = [
                tick._replace(awaiting=awaiting)
                for tick, awaiting in zip(runs, places, strict=False)
            ]
            left = runs[len(taken) :]
            reason = _named(WAITING, active.awaiting)
            runs = taken + [without_run(tick, "skipped", reason) for tick in left]
        case Overlap.CANCEL:
            runs = [without_run(tick, "skipped", REPLACED) for tick in runs[:-1]] + runs[-1:]
    return rest + runs


def _reason(active: ActiveRuns) -> str:
    """Why a tick is skipped; if nothing is going yet, then for the run of a tick before it."""
    if active.running or active.waiting:
        return _named(GOING, active.jobs)
    if active.retrying:
        return _named(RETRYING, active.retrying)
    return _named(WAITING, active.awaiting) if active.awaiting else GOING


def _named(reason: str, jobs: Sequence[int]) -> str:
    return f"{reason} (job {jobs[0]})" if jobs else reason
