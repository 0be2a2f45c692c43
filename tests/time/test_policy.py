"""Where jitter puts a start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from flask_recurring._recurring.policy import start_of

DUE = datetime(2026, 3, 1, 12, tzinfo=UTC)


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
