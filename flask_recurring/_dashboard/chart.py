"""The throughput chart: bars of an SVG, one for each minute, as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._store import Minute

HEIGHT = 100.0
STEP = 10.0
"""Units from one bar to the next; the drawing is stretched to the page's width."""
GAP = 2.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute: heights of its parts, stacked from the bottom."""

    at: datetime
    x: float
    succeeded: int
    failed: int
    retried: int
    parts: tuple[tuple[str, float, float], ...]
    """Kind, top and height of each part that isn't empty."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, and what stands at the axis."""

    bars: tuple[Bar, ...]
    top: int
    succeeded: int
    failed: int
    retried: int

    @property
    def width(self) -> float:
        return max(len(self.bars), 1) * STEP

    @property
    def empty(self) -> bool:
        return not (self.succeeded or self.failed or self.retried)


def throughput(minutes: Sequence[Minute]) -> Chart:
    """A chart of minutes, oldest first."""
    highest = max((m.succeeded + m.failed + m.retried for m in minutes), default=0)
    top = round_up(highest)
    bars = tuple(_bar(position, minute, top) for position, minute in enumerate(minutes))
    return Chart(
        bars=bars,
        top=top,
        succeeded=sum(m.succeeded for m in minutes),
        failed=sum(m.failed for m in minutes),
        retried=sum(m.retried for m in minutes),
    )


def round_up(value: int) -> int:
    """The next 1, 2 or 5 times a power of ten, and at least 4: an axis one can read."""
    if value <= 4:
        return 4
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= value:
                return factor * power
        power *= 10


def _bar(position: int, minute: Minute, top: int) -> Bar:
    parts: list[tuple[str, float, float]] = []
    base = HEIGHT
    kinds = (
        ("succeeded", minute.succeeded),
        ("retried", minute.retried),
        ("failed", minute.failed),
    )
    for kind, count in kinds:
        if count:
            # Never thinner than one can see: a single failure among thousands counts.
            height = max(count / top * HEIGHT, 1.5)
            base -= height
            parts.append((kind, round(max(base, 0.0), 2), round(height, 2)))
    return Bar(
        at=minute.at,
        x=position * STEP + GAP / 2,
        succeeded=minute.succeeded,
        failed=minute.failed,
        retried=minute.retried,
        parts=tuple(parts),
    )
