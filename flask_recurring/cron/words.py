"""A schedule in English words.

The time of day is said by the cron-descriptor library. The days are said here, because the library
says something else about them than is meant: it joins day of month and day of week with "or", takes
``L-3W`` for ``L-3``, leaves open on which days ``1/2`` falls, and names days as the process's
locale does, which need not be English.

Both start from the numbers, not from the text: expressions that mean the same read the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from cron_descriptor import Options, get_description  # type: ignore[import-untyped, unused-ignore]

from .bitset import members, one_run
from .days import (
    EVERY_DAY,
    EVERY_WEEKDAY,
    DayBeforeLast,
    DayOfMonthRule,
    DayOfWeekRule,
    LastWeekday,
    ListedDays,
    ListedWeekdays,
    NthWeekday,
    WorkingDayNearest,
    WorkingDayNearestLast,
)
from .matcher import Matcher

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_NTH = ("", "first", "second", "third", "fourth", "fifth")

_AT_ONE = re.compile(r"\bat 1 (minute|second)s past", re.IGNORECASE)


@lru_cache(maxsize=1024)
def describe(matcher: Matcher) -> str:
    """The schedule in words, as one sentence without its full stop."""
    parts = (
        _time_of_day(matcher),
        _day_of_month(matcher.day_of_month),
        _day_of_week(matcher.day_of_week, alone=matcher.day_of_month == EVERY_DAY),
        _months(matcher.months),
    )
    words = ", ".join(part for part in parts if part)
    return words if matcher.fires else f"{words} (never: there is no such day)"


def _time_of_day(matcher: Matcher) -> str:
    fields = [_clock_text(matcher.minutes, 60), _clock_text(matcher.hours, 24)]
    if members(matcher.seconds) != [0]:
        fields.insert(0, _clock_text(matcher.seconds, 60))
    options = Options()
    options.locale_code = "en_US"
    options.use_24hour_time_format = True
    try:
        words = str(get_description(" ".join([*fields, "*", "*", "*"]), options))
    except Exception:  # Words are for people's comfort: no page may fail for want of them.
        return f"When the clock matches {' '.join(fields)}"
    return _AT_ONE.sub(lambda match: match[0].replace("s past", " past"), words)


def _clock_text(bits: int, size: int) -> str:
    """The plainest cron text for a set of seconds, minutes or hours."""
    numbers = members(bits)
    count, first, last = len(numbers), numbers[0], numbers[-1]
    if count == size:
        return "*"
    step = _step(numbers)
    if step > 1:
        halves = size == 60 and numbers == [0, 30]
        if first < step and last + step >= size:
            if halves or count > 3 or (count == 3 and size % step == 0):
                return f"{first or '*'}/{step}"
        elif count > 3:
            return f"{first}-{last}/{step}"
    # Only hours are thought of as going on past their end: from 22 to 2 is a night.
    run = one_run(bits, range(size)) if size == 24 and count > 2 else None
    if run is not None:
        return f"{run[0]}-{run[1]}"
    return ",".join(a if a == b else f"{a}-{b}" for a, b in _runs(numbers))


def _day_of_month(rule: DayOfMonthRule) -> str:
    match rule:
        case DayBeforeLast(back):
            return f"on {_counted_back(back)}" if back < 2 else _counted_back(back)
        case WorkingDayNearestLast(0):
            return "on the last weekday of the month"
        case WorkingDayNearestLast(back):
            return f"on the weekday nearest to {_counted_back(back)}"
        case WorkingDayNearest(1):
            return "on the first weekday of the month"
        case WorkingDayNearest(day):
            return f"on the weekday nearest to day {day} of the month"
        case ListedDays(days):
            return "" if rule == EVERY_DAY else _listed_days(members(days))


def _counted_back(back: int) -> str:
    match back:
        case 0:
            return "the last day of the month"
        case 1:
            return "the day before the last day of the month"
        case _:
            return f"{back} days before the last day of the month"


def _listed_days(days: list[int]) -> str:
    step = _step(days)
    if step > 1 and len(days) > 3 and days[-1] + step > 31:
        return f"every {step} days from day {days[0]} of the month"
    spans = [a if a == b else f"{a} through {b}" for a, b in _runs(days)]
    noun = "day" if len(days) == 1 else "days"
    return f"on {noun} {_joined(spans, 'and')} of the month"


def _day_of_week(rule: DayOfWeekRule, *, alone: bool) -> str:
    """``alone``: whether the day of month says nothing; if it does, both must be met."""
    lead, conjunction = ("on", "and") if alone else ("only if it falls on", "or")
    match rule:
        case NthWeekday(weekday, nth):
            return f"{lead} the {_NTH[nth]} {_WEEKDAYS[weekday]} of the month"
        case LastWeekday(weekday):
            return f"{lead} the last {_WEEKDAYS[weekday]} of the month"
        case ListedWeekdays(weekdays):
            if rule == EVERY_WEEKDAY:
                return ""
            run = one_run(weekdays, range(7))
            if run is not None and weekdays.bit_count() > 2:
                words = f"{_WEEKDAYS[run[0]]} through {_WEEKDAYS[run[1]]}"
                return words if alone else f"{lead} {words}"
            # A week begins on Monday, to the ear: "Saturday and Sunday".
            ordered = sorted(members(weekdays), key=lambda weekday: (weekday + 6) % 7)
            names = _joined([_WEEKDAYS[weekday] for weekday in ordered], conjunction)
            return f"only on {names}" if alone else f"{lead} {names}"


def _months(months: int) -> str:
    if months.bit_count() == 12:
        return ""
    run = one_run(months, range(1, 13))
    if run is not None and months.bit_count() > 2:
        return f"{_MONTHS[run[0] - 1]} through {_MONTHS[run[1] - 1]}"
    return f"only in {_joined([_MONTHS[month - 1] for month in members(months)], 'and')}"


def _step(numbers: Sequence[int]) -> int:
    """The distance between neighbours if it is the same everywhere; 0 if it is not."""
    steps = {b - a for a, b in pairwise(numbers)}
    return steps.pop() if len(steps) == 1 else 0


def _runs(numbers: Iterable[int]) -> list[tuple[str, str]]:
    """First and last of each run of three or more neighbours; other numbers by themselves."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    spans: list[tuple[str, str]] = []
    for run in runs:
        ends = [(run[0], run[-1])] if len(run) > 2 else [(number, number) for number in run]
        spans.extend((str(a), str(b)) for a, b in ends)
    return spans


def _joined(words: Sequence[str], conjunction: str) -> str:
    if len(words) < 3:
        return f" {conjunction} ".join(words)
    return f"{', '.join(words[:-1])}, {conjunction} {words[-1]}"
