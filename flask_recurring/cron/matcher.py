"""What an expression means on a clock without time zone, and its next match there."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import MAXYEAR, datetime

from .bitset import first_from
from .days import SHAPES, DayOfMonthRule, DayOfWeekRule, shape_index, shapes_of


@dataclass(frozen=True, slots=True)
class Matcher:
    """The numbers that each field allows, as sets of bits, and the rules of the days.

    Two are equal when they mean the same. Immutable, and so safe between threads.
    """

    seconds: int
    minutes: int
    hours: int
    day_of_month: DayOfMonthRule
    months: int
    day_of_week: DayOfWeekRule
    repeats: bool
    """True if it fires in both passes when the clock is set back: it says "every so often" (by a
    ``*``, range or step in its seconds, minutes or hours), not "at these times"."""
    fires: bool = field(init=False, compare=False)
    """True if at least one day matches (``31 2``, the 31st of February, never does)."""
    _days: tuple[int, ...] = field(init=False, compare=False, repr=False)
    _first_minute: int = field(init=False, compare=False, repr=False)
    _first_second: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        days = {
            shape: self.day_of_month.in_month(shape) & self.day_of_week.in_month(shape)
            for shape in SHAPES
        }
        # A month of each shape comes up within 40 years, so what no shape allows never fires.
        fires = any(
            days[shape]
            for month in range(1, 13)
            if self.months >> month & 1
            for shape in shapes_of(month)
        )
        put = object.__setattr__
        put(self, "fires", fires)
        put(self, "_days", tuple(days.values()))
        put(self, "_first_minute", first_from(self.minutes, 0))
        put(self, "_first_second", first_from(self.seconds, 0))

    def first_from(self, wall: datetime) -> datetime | None:
        """The first match that is not before ``wall`` (naive, whole seconds); None if there is
        none up to the year 9999."""
        if not self.fires:
            return None
        year, month, day = wall.year, wall.month, wall.day
        if self.months >> month & 1 and self._days[shape_index(year, month)] >> day & 1:
            time = self._time_from(wall.hour, wall.minute, wall.second)
            if time is not None:
                return datetime(year, month, day, *time)
        date = self._date_after(year, month, day)
        if date is None:
            return None
        hour = first_from(self.hours, 0)
        return datetime(*date, hour, self._first_minute, self._first_second)

    def _time_from(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1:
                second = first_from(self.seconds, second)
                if second >= 0:
                    return hour, minute, second
            minute = first_from(self.minutes, minute + 1)
            if minute >= 0:
                return hour, minute, self._first_second
        hour = first_from(self.hours, hour + 1)
        return (hour, self._first_minute, self._first_second) if hour >= 0 else None

    def _date_after(self, year: int, month: int, day: int) -> tuple[int, int, int] | None:
        start = day + 1
        while year <= MAXYEAR:
            if self.months >> month & 1:
                found = first_from(self._days[shape_index(year, month)], start)
                if found > 0:
                    return year, month, found
            start = 1
            month = first_from(self.months, month + 1)
            if month < 0:
                year, month = year + 1, first_from(self.months, 1)
        return None
