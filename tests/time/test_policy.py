"""What may be given as a policy, and where jitter puts a start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flask_recurring._recurring.policy import Misfire, Overlap, Policy, start_of
from flask_recurring.errors import ConfigurationError

DUE = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_what_stands_when_nothing_is_said() -> None:
    policy = Policy.of()
    assert policy == Policy()
    assert (policy.misfire, policy.misfire_limit, policy.misfire_grace) == ("latest", 100, 30.0)
    assert (policy.overlap, policy.jitter, policy.keep) == ("allow", 0.0, None)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("latest", Misfire.LATEST),
        ("all", Misfire.ALL),
        ("Skip", Misfire.SKIP),
        ("relaxed", Misfire.LATEST),
        ("Strict", Misfire.ALL),
        ("ignorable", Misfire.SKIP),
        (Misfire.ALL, Misfire.ALL),
    ],
)
def test_hangfires_names_are_understood(given: Any, wanted: Misfire) -> None:
    assert Policy.of(misfire=given).misfire is wanted


def test_times_may_be_seconds_or_timedeltas() -> None:
    policy = Policy.of(jitter=timedelta(minutes=2), misfire_grace=0.5, overlap="queue", keep=3)
    assert (policy.jitter, policy.misfire_grace, policy.keep) == (120.0, 0.5, 3)
    assert policy.overlap is Overlap.QUEUE
    assert Policy.of(jitter=timedelta(0)).jitter == 0.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"misfire": "never"},
            r"misfire must be one of 'latest', 'all', 'skip' \(or Hangfire's 'relaxed'.*'never'",
        ),
        ({"misfire": None}, "misfire must be one of .* not None"),
        ({"misfire": "x" * 10_000}, r"misfire .* not 'x+\.\.\.$"),
        ({"misfire_limit": 0}, "misfire_limit must be a whole number from 1 to 10,000, not 0"),
        ({"misfire_limit": True}, "misfire_limit must be"),
        ({"misfire_grace": -1}, r"misfire_grace must be from 0 seconds to 366 days, not -1$"),
        ({"overlap": "wait"}, "overlap must be one of 'allow', 'skip', 'queue', 'cancel'"),
        (
            {"jitter": -timedelta(seconds=1)},
            r"jitter must be from 0 .*days=-1",
        ),
        ({"jitter": timedelta(days=2)}, "jitter must be from 0 seconds to 1 day, not"),
        ({"jitter": float("nan")}, "jitter must be from 0 seconds to 1 day, not nan"),
        ({"jitter": 10**400}, "jitter must be from 0 seconds to 1 day, not 1000"),
        ({"jitter": "1m"}, "jitter must be a timedelta or a number of seconds, not '1m'"),
        ({"keep": 0}, "keep must be a whole number from 1 to 1,000,000, not 0"),
        ({"keep": 1.5}, "keep must be a whole number"),
    ],
    ids=repr,
)
def test_what_is_wrong_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Policy.of(**given)


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="jiter"):
        Policy.of(jiter=5)  # type: ignore[call-arg]


def test_without_jitter_a_run_starts_when_it_is_due() -> None:
    assert start_of("nightly", DUE, 0.0) == DUE


def test_jitter_spreads_starts_the_same_way_each_time() -> None:
    starts = [start_of(f"job-{number}", DUE, 60.0) for number in range(1_000)]
    assert starts == [start_of(f"job-{number}", DUE, 60.0) for number in range(1_000)]
    zone = ZoneInfo("Asia/Tokyo")
    assert start_of("job-1", DUE.astimezone(zone), 60.0) == starts[1]
    late = [(start - DUE).total_seconds() for start in starts]
    assert 0 <= min(late) < 1
    assert 59 < max(late) <= 60
    # Each tenth of the time has about a tenth of the starts.
    assert all(60 < sum(n * 6 <= second < n * 6 + 6 for second in late) < 140 for n in range(10))
    again = [(start_of("job-1", DUE + timedelta(days=n), 60.0) - DUE) for n in range(10)]
    assert len({moment % timedelta(days=1) for moment in again}) == 10
