"""Sequences in pieces: what is linear for a caller can be quadratic for a database's planner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def chunked(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in their order, so many at a time."""
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
