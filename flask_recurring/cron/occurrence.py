"""From matches on the wall clock to moments in a time zone.

Where a zone's clock is set forward, some wall times do not exist; where it is set back, some come
twice. The rules, which are those of Hangfire:

- A match that does not exist counts at the first moment after the gap, once however many there are.
- A match that comes twice counts in the first pass; in the second pass only if the schedule
  repeats, that is, says "every so often" rather than "at these times".

``zoneinfo`` tells the offset of a wall time in both readings (``fold`` 0 and 1) but not where a
change begins and ends. Inside a gap or an overlap the two offsets differ, outside they agree; so
its end is found by halving, in the rare case that it is needed at all.
"""

from __future__ import annotations

from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from .matcher import Matcher

_SECOND = timedelta(seconds=1)
_NONE = timedelta(0)


def next_occurrence(matcher: Matcher, after: datetime, zone: ZoneInfo) -> datetime | None:
    """The first moment of the schedule that is strictly later than ``after`` (aware), in the zone.

    None if there is none before the end of the year 9999.
    """
    try:
        # By way of UTC: a time of the same zone would be taken as it stands, even in a gap.
        here = after.astimezone(UTC).astimezone(zone)
        start = here.replace(tzinfo=None, microsecond=0) + _SECOND
    except OverflowError:
        if after.year == MAXYEAR:
            return None
        here = datetime.min.replace(tzinfo=zone)
        start = datetime.min + _SECOND
    overlap = _overlap_at(here)
    if overlap is not None:
        if not here.fold:
            found = matcher.first_from(start)
            if found is not None and found < overlap.end:
                return found.replace(tzinfo=zone)
            start = overlap.start
        if matcher.repeats:
            found = matcher.first_from(start)
            if found is not None and found < overlap.end:
                return found.replace(tzinfo=zone, fold=1)
        start = overlap.end
    found = matcher.first_from(start)
    return None if found is None else _moment(found, zone)


class _Overlap(NamedTuple):
    """The wall times, from start until before end, that come twice when a clock is set back."""

    start: datetime
    end: datetime


def _overlap_at(here: datetime) -> _Overlap | None:
    """The overlap in which an existing time stands; None, nearly always, if it stands in none."""
    length = _set_back(here)
    if length <= _NONE:
        return None
    end = _end_of_change(here, length)
    return _Overlap(end - length, end)


def _moment(wall: datetime, zone: ZoneInfo) -> datetime | None:
    found = wall.replace(tzinfo=zone)
    back = _set_back(found)
    if back < _NONE:
        return _end_of_change(found, -back).replace(tzinfo=zone)
    if wall.year == MAXYEAR:
        try:
            found.astimezone(UTC)
        except OverflowError:  # west of Greenwich, the last hours of that year can't be told in UTC
            return None
    return found


def _set_back(time: datetime) -> timedelta:
    """By how much the clock is set back at this wall time: negative in a gap, zero where nothing
    happens."""
    first, second = time.replace(fold=0).utcoffset(), time.replace(fold=1).utcoffset()
    assert first is not None
    assert second is not None
    return first - second


def _end_of_change(time: datetime, length: timedelta) -> datetime:
    """The first wall time (naive, whole seconds) after the gap or overlap around ``time``."""
    inside = time.replace(microsecond=0)
    steps = length // _SECOND
    low, high = 0, steps
    while high - low > 1:
        middle = (low + high) // 2
        if _set_back(inside + middle * _SECOND):
            low = middle
        else:
            high = middle
    return (inside + high * _SECOND).replace(tzinfo=None, fold=0)
