"""What a tick does while a run of the same recurring job is still going.

Decided in the tick's own transaction, under the lock on the recurring job's row: nobody else ticks
for it meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..policy import Overlap
from ..store.driver import Due
from ..store.recurring import Going
from .misfire import without_run

GOING = "the run before was still going"
WAITING = "another run was waiting already"
REPLACED = "a newer tick took its place"


def decide(overlap: str, ticks: Sequence[Due], going: Going) -> list[Due]:
    """The ticks of one recurring job, oldest first, with what the policy makes of them."""
    runs = [tick for tick in ticks if tick.outcome == "run"]
    rest = [tick for tick in ticks if tick.outcome != "run"]
    match overlap:
        case Overlap.SKIP:
            first = 0 if going.jobs else 1
            runs = runs[:first] + [_skipped(tick, GOING, going.jobs) for tick in runs[first:]]
        case Overlap.QUEUE:
            places = [] if going.awaiting else [True]
            if not going.jobs and not going.awaiting:
                places.insert(0, False)
            taken = [
                tick._replace(awaiting=awaiting)
                for tick, awaiting in zip(runs, places, strict=False)
            ]
            left = runs[len(taken) :]
            runs = taken + [_skipped(tick, WAITING, going.awaiting) for tick in left]
        case Overlap.CANCEL:
            runs = [without_run(tick, "skipped", REPLACED) for tick in runs[:-1]] + runs[-1:]
    return rest + runs


def _skipped(tick: Due, reason: str, jobs: Sequence[int]) -> Due:
    which = f" (job {jobs[0]})" if jobs else ""
    return without_run(tick, "skipped", f"{reason}{which}")
