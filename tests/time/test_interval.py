"""Fixed intervals: ``every=timedelta(…)``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_recurring._recurring.interval import LONGEST, SHORTEST, Interval
from flask_recurring.errors import ConfigurationError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

lengths = st.integers(SHORTEST // MILLISECOND, LONGEST // MILLISECOND).map(
    lambda number: number * MILLISECOND
)
moments = st.datetimes(datetime(1, 1, 2), datetime(9000, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)


@pytest.mark.parametrize(
    ("length", "text", "words"),
    [
        (timedelta(seconds=90), "@every 90s", "Every 90 seconds"),
        (timedelta(seconds=1), "@every 1s", "Every second"),
        (timedelta(milliseconds=250), "@every 0.25s", "Every 0.25 seconds"),
        (timedelta(minutes=1), "@every 60s", "Every minute"),
        (timedelta(minutes=90), "@every 5400s", "Every 90 minutes"),
        (timedelta(hours=1), "@every 3600s", "Every hour"),
        (timedelta(days=2), "@every 172800s", "Every 2 days"),
    ],
)
def test_text_and_words(length: timedelta, text: str, words: str) -> None:
    interval = Interval(length)
    assert str(interval) == text
    assert Interval.read(text) == interval
    assert interval.describe() == words


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("@every 5m", timedelta(minutes=5)),
        (" @EVERY  1.5 H ", timedelta(minutes=90)),
        ("@every 500ms", timedelta(milliseconds=500)),
        ("@every 2d", timedelta(days=2)),
    ],
)
def test_units_that_people_write(text: str, length: timedelta) -> None:
    assert Interval.read(text).length == length


@pytest.mark.parametrize(
    "text",
    [
        *("@every", "@every 5", "@every m", "@every -5s", "@every 1h30m", "@every 5 weeks"),
        *("@every 1.2345s", "@every 99999999999s", "@every ５s", "@every 5s 5s"),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is no interval.*'@every 90s'"):
        Interval.read(text)


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (timedelta(0), "every must be from 0.1 seconds to 10 years, not datetime.timedelta.0."),
        (-timedelta(seconds=5), "every must be from"),
        (timedelta(milliseconds=99), "every must be from"),
        (timedelta(days=3654), "every must be from"),
        (timedelta.max, "every must be from"),
        (timedelta(seconds=1, microseconds=1), "every counts whole milliseconds"),
        (60, "every must be a timedelta such as timedelta.minutes=5., not 60"),
        (None, "every must be a timedelta"),
    ],
)
def test_other_lengths_are_refused(length: timedelta, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Interval(length)


@pytest.mark.parametrize("text", ["@every 0s", "@every 10ms", "@every 9999d", "@every 999999999d"])
def test_lengths_are_checked_in_texts_too(text: str) -> None:
    with pytest.raises(ConfigurationError, match="every m"):
        Interval.read(text)


@given(lengths, moments)
def test_the_next_moment_is_a_multiple_since_1970_and_the_first_one_later(
    length: timedelta, after: datetime
) -> None:
    found = Interval(length).next(after)
    assert found is not None
    assert (found - EPOCH) % length == timedelta(0)
    assert after < found <= after + length


def test_there_is_an_end_of_time() -> None:
    assert Interval(LONGEST).next(datetime(9995, 1, 1, tzinfo=UTC)) is None


@given(lengths, st.integers(0, 500), st.floats(0, 1, exclude_min=True))
def test_counting(length: timedelta, count: int, rest: float) -> None:
    before = EPOCH + (count - 1) * length + rest * length
    assert Interval(length).count(EPOCH, before) == max(0, -((EPOCH - before) // length))
    assert Interval(length).count(EPOCH, EPOCH + count * length) == count
