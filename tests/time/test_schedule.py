"""When a recurring job is due, and which of its past times were the last ones."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flask_recurring._recurring.schedule import Schedule
from flask_recurring.cron import CronExpression
from flask_recurring.errors import ConfigurationError

START = datetime(2020, 1, 1, tzinfo=UTC)
NEVER = "0 0 30 2 *"
MINUTE = timedelta(minutes=1)


def test_moments_are_those_of_the_expression_in_utc() -> None:
    schedule = Schedule.of("30 2 * * *", timezone="Europe/Berlin")
    zone = ZoneInfo("Europe/Berlin")
    expected = CronExpression("30 2 * * *").following(START, zone, 400)
    found = schedule.following(START, 400)
    assert found == [moment.astimezone(UTC) for moment in expected]
    assert {moment.tzinfo for moment in found} == {UTC}
    assert schedule.next(START) == found[0]
    assert schedule.zone == zone
    assert schedule.describe() == CronExpression("30 2 * * *").describe()
    assert schedule.every is None


def test_an_interval_in_place_of_an_expression() -> None:
    schedule = Schedule.of(None, timedelta(seconds=90))
    assert (schedule.cron, schedule.every) == ("@every 90s", timedelta(seconds=90))
    assert schedule == Schedule.of("@every 1.5m") == Schedule("@every 90s")
    first = schedule.next(START)
    assert first is not None
    assert schedule.following(START, 3) == [first + n * timedelta(seconds=90) for n in range(3)]
    assert schedule.describe() == "Every 90 seconds"


def test_start_and_end_are_due_themselves() -> None:
    noon = datetime(2020, 1, 1, 12, tzinfo=UTC)
    schedule = Schedule.of("* * * * *", start=noon, end=noon + 2 * MINUTE)
    assert schedule.following(START, 9) == [noon, noon + MINUTE, noon + 2 * MINUTE]
    assert schedule.following(noon, 9) == [noon + MINUTE, noon + 2 * MINUTE]
    assert schedule.next(noon + 2 * MINUTE) is None
    berlin = noon.astimezone(ZoneInfo("Europe/Berlin"))
    assert Schedule.of("* * * * *", start=berlin).start == noon
    every = Schedule.of(None, MINUTE, start=noon + timedelta(seconds=1))
    assert every.next(START) == noon + MINUTE


def test_one_whose_end_has_passed_is_none_that_never_fires() -> None:
    """Code in which it stands must still start."""
    schedule = Schedule.of("* * * * *", end=START)
    assert schedule.fires()
    assert schedule.next(START) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cron": None}, "a cron expression or every=, one of the two: got neither"),
        (
            {"cron": "* * * * *", "every": MINUTE},
            "one of the two: got cron '. . . . .' and every datetime.timedelta",
        ),
        ({"cron": "61 * * * *"}, "the field Minutes is wrong"),
        ({"cron": 5}, "cron expression must be a str"),
        ({"cron": "@every 0s"}, "every must be from"),
        ({"every": timedelta(0)}, "every must be from"),
        ({"timezone": "Mars"}, "timezone 'Mars' is not known"),
        ({"timezone": "x" * 10_000}, "timezone 'xxx+' is not known"),
        ({"timezone": None}, "timezone is the name of a zone .*not None"),
        ({"start": datetime(2020, 1, 1)}, "start must be an aware datetime.*not datetime"),
        ({"end": datetime(2020, 1, 1)}, "end must be an aware datetime"),
        ({"start": datetime(1, 1, 1, tzinfo=UTC)}, "start must lie between the years 2 and 9998"),
        ({"end": datetime.max.replace(tzinfo=UTC)}, "end must lie between the years 2 and 9998"),
        ({"start": "2020-01-01"}, "start must be an aware datetime.*not '2020-01-01'"),
        ({"start": START, "end": START - MINUTE}, "end must not be before start: 2019-12-31"),
        ({"cron": NEVER}, "cron '0 0 30 2 .' never fires: there is no such date"),
        (
            {"cron": "0 0 29 2 *", "start": START + 90 * MINUTE, "end": START + 91 * MINUTE},
            "cron '0 0 29 2 .' never fires between start 2020-01-01T01:30",
        ),
    ],
    ids=repr,
)
def test_what_is_wrong_is_named(given: dict[str, object], message: str) -> None:
    right: dict[str, object] = {} if "every" in given else {"cron": "* * * * *"}
    with pytest.raises(ConfigurationError, match=message):
        Schedule.of(**({"cron": None} | right | given))  # type: ignore[arg-type]


def test_one_that_never_fires_can_be_asked_for() -> None:
    schedule = Schedule.of(NEVER, allow_never=True)
    assert not schedule.fires()
    assert schedule.next(START) is None
    assert schedule.following(START, 5) == []


# -- the last ones of those that have passed


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]

CRONS = [
    "* * * * *",
    "*/7 * * * *",
    "30 2 * * *",
    "0,59 1-3 * * *",
    "0 0 1 * *",
    "15 3 29 2 *",
    "0 12 * * MON",
    "*/20 * * * * *",
    "* * 5 * * *",
    "17 17 1 * * *",
    "@every 90s",
    "@every 7.5s",
    "@every 9h",
]


@settings(max_examples=100, deadline=None)
@given(
    text=st.sampled_from(CRONS),
    zone=st.sampled_from(ZONES),
    start=st.timedeltas(timedelta(0), timedelta(days=2_000)),
    ticks=st.integers(0, 300),
    rest=st.floats(0, 1),
    most=st.integers(1, 40),
)
@example("30 2 * * *", "Europe/Berlin", timedelta(days=89), 3, 0.5, 1)
@example("*/20 * * * * *", "Europe/Berlin", timedelta(days=299, hours=23, minutes=30), 300, 0.0, 9)
@example("* * 5 * * *", "UTC", timedelta(0), 290, 0.99, 20)
def test_the_newest_are_the_last_that_counting_comes_to(
    text: str, zone: str, start: timedelta, ticks: int, rest: float, most: int
) -> None:
    schedule = Schedule(text, zone)
    moments = schedule.following(START + start, ticks + 2)
    *past, after = moments
    now = past[-1] + (after - past[-1] - timedelta(microseconds=1)) * rest
    assert schedule.newest(past[0], now, most) == past[-most:]
    assert schedule.count(past[0], after, 1_000) == ticks + 1
    assert schedule.count(past[0], past[-1], 1_000) == ticks
    assert schedule.count(past[0], past[-1], 7) == min(ticks, 7)


def test_the_newest_of_very_many_are_found_without_counting() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=300)
    last = now.replace(microsecond=0)
    began = time.perf_counter()
    seconds = [last - n * timedelta(seconds=1) for n in reversed(range(100))]
    assert Schedule("* * * * * *").newest(START, now, 100) == seconds
    tenths = Schedule("@every 0.1s").newest(START, now, 3)
    assert tenths == [last + n * timedelta(milliseconds=100) for n in (1, 2, 3)]
    # A burst that lies months back: in the step that reaches it there are millions.
    burst = Schedule("* * * * 12 *").newest(START, now + timedelta(days=150), 100)
    assert burst == [last - n * timedelta(seconds=1) for n in reversed(range(1, 101))]
    first = datetime(1990, 1, 1, tzinfo=UTC)
    assert Schedule("0 0 1 1 *").newest(first, now, 1) == [last]
    assert Schedule("0 0 1 1 *").newest(last, now, 1) == [last]
    assert Schedule("* * * * * *").count(START, now, 500) == 500
    assert Schedule("@every 0.1s").count(START, last, 10**12) == (last - START) // timedelta(
        milliseconds=100
    )
    assert time.perf_counter() - began < 5


def test_a_time_that_the_schedule_no_longer_gives_counts_all_the_same() -> None:
    """What was due when it was reckoned is due, whatever the schedule says since."""
    schedule = Schedule(NEVER)
    assert schedule.newest(START, START + timedelta(days=400), 1) == [START]
    assert schedule.count(START, START + timedelta(days=400), 9) == 1
    assert schedule.count(START, START, 9) == 0
    odd = START + timedelta(seconds=5)
    assert Schedule("* * * * *").newest(odd, odd + MINUTE, 9) == [odd, START + MINUTE]
