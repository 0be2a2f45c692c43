"""Cron expressions: against tables of cases, against brute force, and against croniter.

The large tables stand beside the repository, where they are shared with others; the small one in
``data/cron_cases.json`` has our own cases and is always there.
"""

from __future__ import annotations

import calendar
import copy
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_recurring.cron import CronExpression, words
from flask_recurring.errors import ConfigurationError

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

OWN = json.loads((Path(__file__).parent / "data" / "cron_cases.json").read_text("utf-8"))
SHARED_FOLDER = Path(__file__).parents[2] / "shared" / "data"


def _shared(name: str) -> Any:
    path = SHARED_FOLDER / name
    return json.loads(path.read_text("utf-8")) if path.exists() else None


NEXT_CASES: list[dict[str, Any]] = _shared("cron_cases.json") or OWN["next"]
PARSE_CASES: dict[str, list[Any]] = _shared("cron_parse_cases.json") or OWN

# Two cases ask, at the very moment to which the gap moved a match, for that moment inclusively, and
# expect the month after. Asked strictly after the instant before, that moment is the answer.
NOT_STRICTLY_AFTER = {
    ("30 0 L * *", "2017-03-31T01:00:00+03:00"),
    ("30 0 LW * *", "2018-03-30T01:00:00+03:00"),
}


# --- tables of cases ------------------------------------------------------------------------


def _wrong(cases: list[dict[str, Any]]) -> list[str]:
    wrong = []
    for case in cases:
        start = datetime.fromisoformat(case["from"])
        if case["inclusive"]:
            if (case["expr"], case["from"]) in NOT_STRICTLY_AFTER:
                continue
            start = start.astimezone(UTC) - timedelta(microseconds=1)
        moment = CronExpression(case["expr"]).next(start, ZoneInfo(case["zone"]))
        given = None if moment is None else moment.isoformat()
        if given != case["expected"]:
            wrong.append(f"{case} gives {given}")
    return wrong


@pytest.mark.parametrize("cases", [OWN["next"], NEXT_CASES], ids=["own", "shared or own"])
def test_next_as_in_the_tables(cases: list[dict[str, Any]]) -> None:
    assert len(cases) > 50
    assert _wrong(cases) == []


@pytest.mark.parametrize("table", [OWN, PARSE_CASES], ids=["own", "shared or own"])
def test_wrong_expressions_are_refused_with_the_field_at_fault(table: dict[str, Any]) -> None:
    assert len(table["invalid"]) > 30
    for case in table["invalid"]:
        with pytest.raises(ConfigurationError) as caught:
            CronExpression(case["expr"])
        message = str(caught.value)
        assert case["field"] in message
        assert repr(case["expr"]) in message


@pytest.mark.parametrize("table", [OWN, PARSE_CASES], ids=["own", "shared or own"])
def test_equal_when_they_mean_the_same(table: dict[str, Any]) -> None:
    assert len(table["equal"]) > 10
    for one, other in table["equal"]:
        assert CronExpression(one) == CronExpression(other), (one, other)
        assert hash(CronExpression(one)) == hash(CronExpression(other))
        assert CronExpression(one).describe() == CronExpression(other).describe()
    assert len(table["not_equal"]) > 5
    for one, other in table["not_equal"]:
        assert CronExpression(one) != CronExpression(other), (one, other)


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, 5, b"* * * * *", ["*"] * 5, datetime.now(UTC)])
def test_only_a_str_is_an_expression(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"must be a str .* not {type(given).__name__}"):
        CronExpression(given)


def test_a_long_text_is_refused_before_it_is_read() -> None:
    with pytest.raises(ConfigurationError, match="512 characters, not 199999"):
        CronExpression(",".join("5" * 100_000))
    all_minutes = ",".join(map(str, range(60)))
    assert CronExpression(f"{all_minutes} * * * *") == CronExpression("* * * * *")


def test_a_wrong_expression_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"field Minutes .*'75' must be a number between 0 and 59"):
        CronExpression("0,75 * * * *")


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        expression = CronExpression(text)
    except ConfigurationError as error:
        str(error).encode()
    else:
        assert expression.describe()


@given(st.lists(st.text("0123459*,-/?LW#lwMONJAN", max_size=7), min_size=5, max_size=6))
def test_any_text_like_a_field_is_read_or_refused(fields: list[str]) -> None:
    try:
        expression = CronExpression(" ".join(fields))
    except ConfigurationError:
        return
    assert expression.describe()
    moment = expression.next(datetime(2025, 1, 1, tzinfo=UTC), ZoneInfo("UTC"))
    assert (moment is not None) == expression.fires()


@pytest.mark.parametrize("after", [datetime(2025, 1, 1), date(2025, 1, 1), None, "2025-01-01"])
def test_next_wants_an_aware_datetime(after: Any) -> None:
    expression = CronExpression("@daily")
    with pytest.raises(ConfigurationError, match="datetime with a time zone"):
        expression.next(after, ZoneInfo("UTC"))
    with pytest.raises(ConfigurationError, match="datetime with a time zone"):
        expression.following(after, ZoneInfo("UTC"), 3)


@pytest.mark.parametrize("zone", ["Europe/Berlin", None, timezone(timedelta(hours=1))])
def test_next_wants_a_zoneinfo(zone: Any) -> None:
    with pytest.raises(ConfigurationError, match="zone must be a ZoneInfo"):
        CronExpression("@daily").next(datetime(2025, 1, 1, tzinfo=UTC), zone)


# --- as a value -----------------------------------------------------------------------------


def test_immutable() -> None:
    expression = CronExpression("*/5 * * * *")
    with pytest.raises(AttributeError):
        expression.text = "* * * * *"  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        expression.note = "new"  # type: ignore[attr-defined]


def test_text_is_kept_as_given() -> None:
    expression = CronExpression(" */5  * * * mon ")
    assert expression.text == str(expression) == " */5  * * * mon "
    assert repr(expression) == "CronExpression(text=' */5  * * * mon ')"


def test_copied_and_pickled() -> None:
    expression = CronExpression("0 0 LW * *")
    for other in (
        copy.copy(expression),
        copy.deepcopy(expression),
        pickle.loads(pickle.dumps(expression)),
    ):
        assert other == expression
        assert other.text == expression.text


def test_not_equal_to_its_text() -> None:
    text: object = "* * * * *"
    assert CronExpression("* * * * *") != text


# --- the ends of the calendar ---------------------------------------------------------------


def test_what_never_fires() -> None:
    expression = CronExpression("0 0 31 2,4,6,9,11 *")
    assert not expression.fires()
    assert expression.next(datetime(1, 1, 1, tzinfo=UTC), ZoneInfo("UTC")) is None
    assert expression.following(datetime(2025, 1, 1, tzinfo=UTC), ZoneInfo("UTC"), 3) == []


@pytest.mark.parametrize("weekday", range(7))
def test_leap_days_on_one_weekday(weekday: int) -> None:
    expression = CronExpression(f"0 0 29 2 {weekday}")
    leap_days = [date(year, 2, 29) for year in range(1904, 2201, 4) if calendar.isleap(year)]
    expected = [day for day in leap_days if day.isoweekday() % 7 == weekday]
    moments = expression.following(datetime(1904, 1, 1, tzinfo=UTC), ZoneInfo("UTC"), len(expected))
    assert [moment.date() for moment in moments] == expected


@pytest.mark.parametrize("key", ["UTC", "America/New_York", "Pacific/Kiritimati"])
def test_until_the_year_9999(key: str) -> None:
    zone = ZoneInfo(key)
    start = datetime(9999, 12, 31, 0, 0, tzinfo=UTC)
    moments = CronExpression("0 * * * *").following(start, zone, 100)
    assert [moment.astimezone(UTC).hour for moment in moments] == list(
        range(1, 10 if key == "Pacific/Kiritimati" else 24)
    )
    for expression in (CronExpression("@yearly"), CronExpression("@every_second")):
        assert expression.next(datetime.max.replace(tzinfo=UTC), zone) is None
        assert expression.next(datetime.max.replace(tzinfo=zone), zone) is None


@pytest.mark.parametrize("key", ["UTC", "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("tz", [UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=9))])
def test_from_the_year_1(key: str, tz: timezone) -> None:
    moment = CronExpression("0 0 1 2 *").next(datetime.min.replace(tzinfo=tz), ZoneInfo(key))
    assert moment is not None
    assert moment.replace(tzinfo=None) == datetime(1, 2, 1)


def test_after_may_be_a_time_that_the_clock_skips() -> None:
    zone = ZoneInfo("America/New_York")
    # 02:30 does not exist that day; as a moment it is 03:30, when 03:00 has passed.
    skipped = datetime(2016, 3, 13, 2, 30, tzinfo=zone)
    moment = CronExpression("*/15 * * * *").next(skipped, zone)
    assert moment is not None
    assert moment.isoformat() == "2016-03-13T03:45:00-04:00"


# --- brute force ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Oracle:
    """A text and, by other means than the code under test, what it means."""

    text: str
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    day_of_month: Callable[[date], bool]
    day_of_week: Callable[[date], bool]
    repeats: bool

    def matches(self, wall: datetime) -> bool:
        return (
            wall.minute in self.minutes
            and wall.second in self.seconds
            and wall.hour in self.hours
            and wall.month in self.months
            and self.day_of_month(wall.date())
            and self.day_of_week(wall.date())
        )

    def moments(self, after: datetime, zone: ZoneInfo, step: timedelta, count: int) -> list[str]:
        """All moments among the next ``count`` steps, each looked at by itself."""
        found = []
        # The steps begin on a whole one; what is not later than ``after`` is none of the answer.
        moment = after.replace(second=0, microsecond=0)
        for _ in range(count):
            moment += step
            if moment <= after:
                continue
            here = moment.astimezone(zone)
            if self.fires_at(here, (moment - SECOND).astimezone(zone), step):
                found.append(here.isoformat())
        return found

    def fires_at(self, here: datetime, before: datetime, step: timedelta) -> bool:
        if (self.repeats or not here.fold) and self.matches(here):
            return True
        now, then = here.utcoffset(), before.utcoffset()
        assert now is not None
        assert then is not None
        wall = here.replace(tzinfo=None)
        skipped = wall - (now - then)
        while skipped < wall:
            if self.matches(skipped):
                return True
            skipped += step
        return False


Numbers = tuple[str, frozenset[int]]


def _item(first: int, last: int) -> st.SearchStrategy[Numbers]:
    number = st.integers(first, last)
    step = st.integers(1, last)
    everything = range(first, last + 1)

    def wrapped(low: int, high: int, step: int) -> frozenset[int]:
        rest = [n for n in everything if n >= low] + [n for n in everything if n < low]
        return frozenset(rest[: rest.index(high) + 1 : step])

    return st.one_of(
        number.map(lambda n: (str(n), frozenset({n}))),
        st.tuples(number, number).map(lambda r: (f"{r[0]}-{r[1]}", wrapped(*r, 1))),
        st.tuples(number, number, step).map(lambda r: (f"{r[0]}-{r[1]}/{r[2]}", wrapped(*r))),
        st.tuples(number, step).map(
            lambda r: (f"{r[0]}/{r[1]}", frozenset(range(r[0], last + 1, r[1])))
        ),
    )


def _numbers(first: int, last: int) -> st.SearchStrategy[Numbers]:
    everything = frozenset(range(first, last + 1))
    return st.one_of(
        st.sampled_from("*?").map(lambda star: (star, everything)),
        st.integers(1, last).map(lambda n: (f"*/{n}", frozenset(range(first, last + 1, n)))),
        st.lists(_item(first, last), min_size=1, max_size=4).map(
            lambda items: (
                ",".join(text for text, _ in items),
                frozenset[int]().union(*(numbers for _, numbers in items)),
            )
        ),
    )


Days = tuple[str, Callable[[date], bool]]


def _days_in_month(day: date) -> list[date]:
    length = calendar.monthrange(day.year, day.month)[1]
    return [day.replace(day=number) for number in range(1, length + 1)]


def _nearest_working_day(number: int, day: date) -> bool:
    """Whether the day is the Monday to Friday nearest to a day of its month."""
    month = _days_in_month(day)
    if not 1 <= number <= len(month):
        return False
    working = [other for other in month if other.isoweekday() < 6]
    return day == min(working, key=lambda other: abs(other.day - number))


def _nth(weekday: int, nth: int, day: date) -> bool:
    same = [other for other in _days_in_month(day) if other.isoweekday() % 7 == weekday % 7]
    return nth <= len(same) and day == same[nth - 1 if nth > 0 else nth]


def _every(day: date) -> bool:
    return True


def _back(number: int, day: date) -> int:
    """The number of the day that is so many days before the last of the day's month."""
    return len(_days_in_month(day)) - number


def _days_of_month() -> st.SearchStrategy[Days]:
    back = st.integers(0, 30)
    return st.one_of(
        st.just(("*", _every)),
        _numbers(1, 31).map(lambda n: (n[0], lambda day: day.day in n[1])),
        st.just(("L", lambda day: day.day == _back(0, day))),
        st.just(("lw", lambda day: _nearest_working_day(_back(0, day), day))),
        back.map(lambda b: (f"L-{b}", lambda day: day.day == _back(b, day))),
        back.map(lambda b: (f"L-{b}W", lambda day: _nearest_working_day(_back(b, day), day))),
        st.integers(1, 31).map(lambda n: (f"{n}W", lambda day: _nearest_working_day(n, day))),
    )


def _days_of_week() -> st.SearchStrategy[Days]:
    weekday = st.integers(0, 7)
    return st.one_of(
        st.just(("*", _every)),
        _numbers(0, 6)
        # From a number "to the end" ends with Sunday as 7, and a step may be 7.
        .filter(lambda n: not any("/" in item and "-" not in item for item in n[0].split(",")))
        .map(lambda n: (n[0], lambda day: day.isoweekday() % 7 in n[1])),
        weekday.map(lambda w: (f"{w}L", lambda day: _nth(w, -1, day))),
        st.tuples(weekday, st.integers(1, 5)).map(
            lambda r: (f"{r[0]}#{r[1]}", lambda day: _nth(r[0], r[1], day))
        ),
    )


@st.composite
def _oracles(draw: st.DrawFn, seconds: bool) -> Oracle:
    second = draw(_numbers(0, 59)) if seconds else ("", frozenset({0}))
    minute, hour = draw(_numbers(0, 59)), draw(_numbers(0, 23))
    # Mostly any day, lest most examples find nothing in the hours that are looked at.
    any_day = draw(st.integers(0, 3)) > 0
    day_of_month = ("*", _every) if any_day else draw(_days_of_month())
    month = ("*", frozenset(range(1, 13))) if any_day else draw(_numbers(1, 12))
    day_of_week = ("*", _every) if any_day else draw(_days_of_week())
    clock = f"{second[0]} {minute[0]} {hour[0]}".lstrip()
    return Oracle(
        text=f"{clock} {day_of_month[0]} {month[0]} {day_of_week[0]}",
        seconds=second[1],
        minutes=minute[1],
        hours=hour[1],
        months=month[1],
        day_of_month=day_of_month[1],
        day_of_week=day_of_week[1],
        repeats=any(sign in clock for sign in "*?-/"),
    )


ZONES = [
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Asia/Amman",
    "America/Sao_Paulo",
    "UTC",
]


@cache
def _changes(key: str) -> list[datetime]:
    """The hours before which the zone's clock was set, 2005 to 2030."""
    zone, hour = ZoneInfo(key), timedelta(hours=1)

    def differs(moment: datetime, length: timedelta) -> bool:
        before, after = moment.astimezone(zone), (moment + length).astimezone(zone)
        return before.utcoffset() != after.utcoffset()

    def walk() -> Iterator[datetime]:
        for number in range(25 * 365):
            day = datetime(2005, 1, 1, tzinfo=UTC) + number * timedelta(days=1)
            if differs(day, timedelta(days=1)):
                hours = [day + number * hour for number in range(24)]
                yield next(moment for moment in hours if differs(moment, hour))

    return list(walk()) or [datetime(2024, 2, 28, 20, tzinfo=UTC)]


@st.composite
def _times(draw: st.DrawFn, key: str, before: timedelta) -> datetime:
    """A time from which the next steps lead over a change of the zone's clock."""
    change = draw(st.sampled_from(_changes(key)))
    back = draw(st.integers(0, int(before / SECOND)))
    return change - back * SECOND + timedelta(microseconds=draw(st.sampled_from([0, 0, 1, 999999])))


def _agree(oracle: Oracle, after: datetime, key: str, step: timedelta, count: int) -> None:
    zone = ZoneInfo(key)
    expression = CronExpression(oracle.text)
    expected = oracle.moments(after, zone, step, count)
    if not expected:
        moment = expression.next(after, zone)
        assert moment is None or moment.astimezone(UTC) > after + step * (count - 1)
        return
    first = expected[:20]
    moments = expression.following(after, zone, len(first))
    assert [moment.isoformat() for moment in moments] == first
    for moment in moments:
        assert moment.tzinfo is zone
        assert moment.astimezone(UTC) > after
        # The same question asked from just before the answer, in the zone's own time.
        asked = expression.next((moment.astimezone(UTC) - SECOND).astimezone(zone), zone)
        assert asked is not None
        assert asked.isoformat() == moment.isoformat()


@pytest.mark.parametrize("key", ZONES)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_nothing_is_missed_or_added_by_the_minute(key: str, data: st.DataObject) -> None:
    oracle = data.draw(_oracles(seconds=False))
    after = data.draw(_times(key, timedelta(hours=30)))
    _agree(oracle, after, key, MINUTE, 48 * 60)


@pytest.mark.parametrize("key", ZONES)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_nothing_is_missed_or_added_by_the_second(key: str, data: st.DataObject) -> None:
    oracle = data.draw(_oracles(seconds=True))
    after = data.draw(_times(key, timedelta(hours=1)))
    _agree(oracle, after, key, SECOND, 3 * 3600)


@settings(deadline=None, max_examples=150)
@given(
    day_of_month=_days_of_month(),
    day_of_week=_days_of_week(),
    month=_numbers(1, 12),
    year=st.integers(1900, 2200),
)
def test_days_of_a_year(day_of_month: Days, day_of_week: Days, month: Numbers, year: int) -> None:
    expression = CronExpression(f"0 0 {day_of_month[0]} {month[0]} {day_of_week[0]}")
    days = [date(year, 1, 1) + number * timedelta(days=1) for number in range(365)]
    expected = [
        day
        for day in days
        if day.month in month[1] and day_of_month[1](day) and day_of_week[1](day)
    ]
    start = datetime(year, 1, 1, tzinfo=UTC) - SECOND
    moments = expression.following(start, ZoneInfo("UTC"), len(expected))
    assert [moment.date() for moment in moments] == expected


# --- another implementation -----------------------------------------------------------------


def _plain(first: int, last: int) -> st.SearchStrategy[str]:
    """Fields that croniter reads as we do: no range to its own start or past its end."""
    number = st.integers(first, last)
    ordered = st.tuples(number, number).filter(lambda r: r[0] != r[1]).map(sorted)
    item = st.one_of(
        number.map(str),
        ordered.map(lambda r: f"{r[0]}-{r[1]}"),
        st.tuples(ordered, st.integers(1, 6)).map(lambda r: f"{r[0][0]}-{r[0][1]}/{r[1]}"),
    )
    return st.one_of(
        st.just("*"),
        st.integers(1, last).map(lambda n: f"*/{n}"),
        st.lists(item, min_size=1, max_size=3).map(",".join),
    )


@settings(deadline=None, max_examples=200)
@given(
    seconds=st.one_of(st.just(""), _plain(0, 59)),
    clock=st.tuples(_plain(0, 59), _plain(0, 23)),
    days=st.tuples(_plain(1, 31).filter(lambda text: text != "31"), _plain(1, 12), _plain(0, 6)),
    start=st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)),
)
def test_plain_fields_as_croniter(
    seconds: str, clock: tuple[str, str], days: tuple[str, str, str], start: datetime
) -> None:
    text = " ".join([seconds, *clock, *days]).strip()
    after = start.replace(microsecond=0, tzinfo=UTC)
    moments = CronExpression(text).following(after, ZoneInfo("UTC"), 5)
    if not moments or moments[-1].year - start.year > 30:
        return  # croniter gives up after 50 years
    witness = croniter(text, after, day_or=False, second_at_beginning=True)
    assert [moment.astimezone(UTC) for moment in moments] == [
        witness.get_next(datetime) for _ in moments
    ]


# --- many threads ---------------------------------------------------------------------------


def test_one_expression_in_many_threads() -> None:
    zone = ZoneInfo("America/New_York")
    texts = ["*/7 * * * *", "0 0 LW * *", "30 1,2 * * *", "0 0 29 2 MON", "0 9 13 * FRI"]
    expressions = [CronExpression(text) for text in texts]
    starts = [datetime(2016, 1, 1, tzinfo=UTC) + n * timedelta(hours=31) for n in range(200)]

    def answers() -> list[tuple[str, datetime | None]]:
        return [
            (expression.describe(), expression.next(start, zone))
            for start in starts
            for expression in expressions
        ]

    expected = answers()
    ready = threading.Barrier(8)
    found: list[list[tuple[str, datetime | None]]] = []

    def run() -> None:
        ready.wait(10)
        found.append(answers())

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [expected] * 8


# --- in words -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", "Every minute"),
        ("*/5 * * * * *", "Every 5 seconds"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("*/30 * * * *", "Every 30 minutes"),
        ("*/45 * * * *", "At 0 and 45 minutes past the hour"),
        ("1 * * * *", "At 1 minute past the hour"),
        ("0 0 1 * * *", "At 01:00"),
        ("15 30 17 * * *", "At 17:30:15"),
        ("0 0,12 * * *", "At 00:00 and 12:00"),
        ("0-10 11 * * *", "Every minute between 11:00 and 11:10"),
        ("*/10 22-2 * * *", "Every 10 minutes, between 22:00 and 02:59"),
        ("? ? ? ? ?", "Every minute"),
        ("@hourly", "Every hour"),
        ("@daily", "At 00:00"),
        ("@weekly", "At 00:00, only on Sunday"),
        ("@yearly", "At 00:00, on day 1 of the month, only in January"),
        ("0 0 1,15 * *", "At 00:00, on days 1 and 15 of the month"),
        ("0 0 1-5,20 * *", "At 00:00, on days 1 through 5 and 20 of the month"),
        ("0 0 */2 * *", "At 00:00, every 2 days from day 1 of the month"),
        ("0 0 L * *", "At 00:00, on the last day of the month"),
        ("0 0 L-1 * *", "At 00:00, on the day before the last day of the month"),
        ("0 0 L-3 * *", "At 00:00, 3 days before the last day of the month"),
        ("0 0 LW * *", "At 00:00, on the last weekday of the month"),
        (
            "0 0 L-3W * *",
            "At 00:00, on the weekday nearest to 3 days before the last day of the month",
        ),
        ("0 0 1W * *", "At 00:00, on the first weekday of the month"),
        ("0 0 15w * *", "At 00:00, on the weekday nearest to day 15 of the month"),
        ("0 0 * * friL", "At 00:00, on the last Friday of the month"),
        ("0 0 * * FRI#3", "At 00:00, on the third Friday of the month"),
        ("0 9 * * 1-5", "At 09:00, Monday through Friday"),
        ("0 9 * * fri-mon", "At 09:00, Friday through Monday"),
        ("0 9 * * 0,6", "At 09:00, only on Saturday and Sunday"),
        ("0 9 * * 1/2", "At 09:00, only on Monday, Wednesday, Friday, and Sunday"),
        ("0 9 13 * FRI", "At 09:00, on day 13 of the month, only if it falls on Friday"),
        ("0 9 1 * 6,7", "At 09:00, on day 1 of the month, only if it falls on Saturday or Sunday"),
        ("0 9 * nov-feb *", "At 09:00, November through February"),
        ("0 9 * */6 *", "At 09:00, only in January and July"),
        (
            "0 0 31 2 *",
            "At 00:00, on day 31 of the month, only in February (never: there is no such day)",
        ),
    ],
)
def test_in_words(text: str, expected: str) -> None:
    assert CronExpression(text).describe() == expected


@settings(deadline=None)
@given(_oracles(seconds=True))
def test_every_expression_has_words(oracle: Oracle) -> None:
    described = CronExpression(oracle.text).describe()
    assert described
    assert described[0].isupper()
    assert "  " not in described
    assert "None" not in described


def test_words_when_the_library_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> str:
        raise RuntimeError("no words")

    monkeypatch.setattr(words, "get_description", fail)
    assert (
        words.describe.__wrapped__(CronExpression("*/5 9 * * SUN")._matcher)
        == "When the clock matches */5 9, only on Sunday"
    )
