"""Sets of small numbers, kept as the bits of an int: a number is a member when its bit is set."""

from __future__ import annotations

from collections.abc import Iterable


def set_of(numbers: Iterable[int]) -> int:
    """The set that holds these numbers."""
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return bits


def first_from(bits: int, start: int) -> int:
    """The smallest member that is ``start`` or more; -1 if there is none."""
    rest = bits >> start
    return start + (rest & -rest).bit_length() - 1 if rest else -1


def members(bits: int) -> list[int]:
    """All members, in order."""
    return [number for number in range(bits.bit_length()) if bits >> number & 1]


def one_run(bits: int, cycle: range) -> tuple[int, int] | None:
    """First and last of the members if, going round the cycle, they follow one another without a
    gap (weekdays 5, 6, 0, 1); None if they don't."""
    numbers = [number for number in cycle if bits >> number & 1]
    size = len(cycle)
    before = {number: cycle[(number - cycle.start - 1) % size] for number in numbers}
    starts = [number for number in numbers if not bits >> before[number] & 1]
    if len(starts) != 1:
        return None
    start = starts[0]
    return start, cycle[(start - cycle.start + len(numbers) - 1) % size]
