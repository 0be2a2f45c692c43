"""Progress bars in a run's console."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")

BAR_STEP = 0.1
"""A bar that moved by less (in percent) is not written again."""


class ProgressBar:
    """A bar in the job's console. ``set`` it from 0 to 100."""

    def __init__(self, put: Callable[[float], None], value: float = 0.0) -> None:
        self._put = put
        self._value = float(value)

    @property
    def value(self) -> float:
        """Where the bar stands, from 0 to 100."""
        return self._value

    def set(self, value: float) -> None:
        """Move the bar. Raises ``ValueError`` unless ``value`` lies between 0 and 100."""
        checked_value(value)
        if abs(value - self._value) >= BAR_STEP or (value in (0, 100) and value != self._value):
            self._value = float(value)
            self._put(self._value)


def track(items: Iterable[T], bar: ProgressBar, total: int | None = None) -> Iterator[T]:
    """Yield the items and move the bar along.

    Without a length, known or given as ``total``, the bar moves only at the end. Should there be
    more items than that, the bar waits at its place for the end.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    for done, item in enumerate(items):
        if total:
            bar.set(min(100.0, 100.0 * done / total))
        yield item
    bar.set(100)


def checked_value(value: float) -> float:
    """Where a bar may stand. Raises ``ValueError`` for anything else."""
    if not 0 <= value <= 100:
        raise ValueError(f"a progress bar goes from 0 to 100, not to {value!r}")
    return float(value)
