"""A recurring job's last runs as a strip of bars: how each came out, and how long it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .._recurring.recurring_job import TickResult
from ..job import JobState

HEIGHT = 100.0
LOWEST = 10.0
"""Height of a bar that has no length: a tick without a run, or one that waits."""
OPEN = 55.0
"""Height of a bar whose run goes on, so that the drawing stays as it is meanwhile."""

WORDS = {
    "succeeded": "succeeded",
    "failed": "failed",
    "deleted": "deleted",
    "processing": "running",
    "waiting": "waiting",
    "skipped": "skipped",
    "missed": "missed",
    "gone": "removed",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One entry of the history."""

    result: TickResult
    kind: str
    """A key of ``WORDS``."""
    y: float
    height: float

    @property
    def words(self) -> str:
        return WORDS[self.kind]

    @property
    def at(self) -> datetime:
        """When it was due, or triggered."""
        return self.result.tick.due or self.result.tick.created_at

    @property
    def by_hand(self) -> bool:
        return self.result.tick.outcome == "triggered"


@dataclass(frozen=True, slots=True)
class Strip:
    """The bars, oldest first, and how many there are of each kind."""

    bars: tuple[Bar, ...]
    counts: tuple[tuple[str, str, int], ...]
    """Kind, words and number, of the kinds that there are."""
    by_hand: int


def strip(history: Sequence[TickResult]) -> Strip:
    """The bars of a history, which comes newest first.

    Heights follow the square root of the length, so that a run of a second beside one of an hour
    can still be seen.
    """
    longest = max((one.duration or 0.0 for one in history), default=0.0)
    bars = tuple(_bar(one, longest) for one in reversed(history))
    found = Counter(bar.kind for bar in bars)
    counts = tuple((kind, words, found[kind]) for kind, words in WORDS.items() if found[kind])
    return Strip(bars, counts, sum(bar.by_hand for bar in bars))


def kind_of(result: TickResult) -> str:
    """The key of ``WORDS`` for what became of a due time."""
    if result.tick.outcome in ("skipped", "missed"):
        return result.tick.outcome
    match result.state:
        case None:
            return "gone"
        case JobState.PROCESSING:
            return "processing"
        case state if state.finished:
            return state.value.lower()
    return "waiting"


def _bar(result: TickResult, longest: float) -> Bar:
    kind = kind_of(result)
    height = LOWEST
    if kind == "processing":
        height = OPEN
    elif result.duration is not None and kind != "waiting":
        share = result.duration / longest if longest > 0 else 0.0
        height = round(LOWEST + (HEIGHT - LOWEST) * max(share, 0.0) ** 0.5, 1)
    return Bar(result, kind, round(HEIGHT - height, 1), height)
