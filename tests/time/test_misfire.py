"""Ticks that no server was there for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_recurring._recurring.policy import Misfire, start_of
from flask_recurring._server import ticker
from flask_recurring._server.misfire import COUNTED, SHOWN
from tests.time.fleet import Fleet

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def minutes(first: int, last: int) -> list[datetime]:
    return [NOON + number * MINUTE for number in range(first, last + 1)]


def policy(misfire: str = "latest", **values: object) -> dict[str, Any]:
    return {"misfire": misfire, **values}


# -- each policy, when the fleet was stopped


def test_latest_runs_the_newest_of_those_missed(fleet: Fleet) -> None:
    fleet.declare()
    fleet.tick(NOON + 5 * MINUTE + 20 * SECOND)
    assert fleet.dues() == minutes(5, 5)
    assert fleet.job().next_at == NOON + 6 * MINUTE
    *missed, run = fleet.history()
    assert [tick.due for tick in missed] == minutes(1, 4)
    assert {(tick.outcome, tick.job_id) for tick in missed} == {("missed", None)}
    assert {tick.reason for tick in missed} == {
        "no server was there in time; the newest of those missed has run"
    }
    assert (run.due, run.outcome, run.reason) == (NOON + 5 * MINUTE, "run", None)
    assert run.job_id == fleet.job().last_job_id
    assert fleet.job().last_due == run.due


def test_all_runs_each_of_those_missed(fleet: Fleet) -> None:
    fleet.declare(**policy("all"))
    fleet.tick(NOON + 5 * MINUTE + 20 * SECOND)
    assert fleet.dues() == minutes(1, 5)
    assert {tick.outcome for tick in fleet.history()} == {"run"}
    assert fleet.job().last_due == NOON + 5 * MINUTE
    assert fleet.job().last_job_id == fleet.jobs()[-1].id
    run_at = {job.run_at for job in fleet.jobs()}
    assert min(run_at) > NOON + 5 * MINUTE, "they run now, whenever they were due"


def test_all_has_its_limit(fleet: Fleet) -> None:
    fleet.declare(**policy("all", misfire_limit=3))
    fleet.tick(NOON + 10 * MINUTE)
    assert fleet.dues() == minutes(8, 10)
    missed = fleet.history()[:7]
    assert [tick.due for tick in missed] == minutes(1, 7)
    assert {tick.reason for tick in missed} == {
        "no server was there in time; the newest 3 of those missed have run"
    }


def test_skip_runs_those_that_are_not_too_late(fleet: Fleet) -> None:
    fleet.declare(**policy("skip", misfire_grace=90))
    fleet.tick(NOON + 5 * MINUTE + 20 * SECOND)
    assert fleet.dues() == minutes(4, 5)
    missed = fleet.history()[:3]
    assert [tick.due for tick in missed] == minutes(1, 3)
    assert {tick.reason for tick in missed} == {
        "no server was there in time, and it was late by more than 0:01:30"
    }
    fleet.tick(NOON + 8 * MINUTE)
    assert fleet.dues() == minutes(4, 5) + minutes(7, 8)


def test_skip_of_a_single_one_that_is_too_late(fleet: Fleet) -> None:
    fleet.declare(cron="0 * * * *", **policy("skip"))
    fleet.tick(NOON + HOUR + 31 * SECOND)
    assert fleet.dues() == []
    (missed,) = fleet.history()
    assert (missed.due, missed.outcome) == (NOON + HOUR, "missed")
    assert (fleet.job().last_due, fleet.job().next_at) == (None, NOON + 2 * HOUR)
    fleet.tick(NOON + 2 * HOUR + 29 * SECOND)
    assert fleet.dues() == [NOON + 2 * HOUR]


@pytest.mark.parametrize("misfire", list(Misfire))
def test_a_tick_in_time_runs_whatever_the_policy(fleet: Fleet, misfire: Misfire) -> None:
    fleet.declare(**policy(misfire))
    for minute in range(1, 4):
        fleet.tick(NOON + minute * MINUTE)
    assert fleet.dues() == minutes(1, 3)
    assert {tick.outcome for tick in fleet.history()} == {"run"}


def test_what_is_not_shown_one_by_one_is_counted(fleet: Fleet) -> None:
    fleet.declare(cron="* * * * * *")
    fleet.tick(NOON + 1000 * SECOND)
    history = fleet.history()
    assert len(history) == 1 + SHOWN + 1
    assert [tick.due for tick in history] == [
        NOON + number * SECOND for number in range(1000 - SHOWN - 1, 1001)
    ]
    first = history[0]
    assert first.outcome == "missed"
    assert first.reason is not None
    # It is the 899th, and tells of the 898 before it.
    assert first.reason.endswith("has run (and 898 before it)")
    assert history[1].reason is not None
    assert "before it" not in history[1].reason


def test_more_than_can_be_counted(fleet: Fleet) -> None:
    fleet.declare("job", cron="* * * * * *")
    fleet.declare("every", cron="@every 1s", **policy("all", misfire_limit=2))
    fleet.tick(NOON + timedelta(days=400))
    assert fleet.dues() == [NOON + timedelta(days=400)]
    assert len(fleet.dues("every")) == 2
    for id in ("job", "every"):
        reason = fleet.history(id)[0].reason
        assert reason is not None
        assert reason.endswith(f"(and more than {COUNTED:,} before it)")


def test_very_many_that_catch_up_at_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction writes no more than so many entries, and no row is left out."""
    monkeypatch.setattr(ticker, "ENOUGH", 40)
    ids = [f"job-{number}" for number in range(20)]
    for id in ids:
        fleet.declare(id, **policy("all", misfire_limit=4))
    fleet.tick(NOON + 20 * MINUTE)
    for id in ids:
        assert fleet.dues(id) == minutes(17, 20)
        history = fleet.history(id)
        # Those before the first that is shown are told of in a number.
        before = re.search(r"\(and (\d+) before it\)", history[0].reason or "")
        assert len(history) + (int(before[1]) if before else 0) == 20
        assert len(history) > 4 + ticker.LEAST_SHOWN


def test_a_schedule_that_ended_while_nobody_was_there(fleet: Fleet) -> None:
    fleet.declare(end=NOON + 3 * MINUTE, **policy("all"))
    fleet.tick(NOON + HOUR)
    assert fleet.dues() == minutes(1, 3)
    assert fleet.job().next_at is None
    fleet.tick(HOUR)
    assert len(fleet.history()) == 3


def test_one_that_starts_while_nobody_was_there(fleet: Fleet) -> None:
    fleet.declare(start=NOON + 3 * MINUTE, **policy("all"))
    fleet.tick(NOON + 2 * MINUTE)
    assert fleet.history() == []
    fleet.tick(NOON + 4 * MINUTE)
    assert fleet.dues() == minutes(3, 4)


# -- pausing


@pytest.mark.parametrize(
    ("misfire", "dues"), [("latest", [5]), ("all", [1, 2, 3, 4, 5]), ("skip", [5])]
)
def test_resuming_follows_the_policy(fleet: Fleet, misfire: str, dues: list[int]) -> None:
    fleet.declare(**policy(misfire))
    fleet.store.recurring.pause("job")
    fleet.tick(NOON + 5 * MINUTE + SECOND)
    assert fleet.history() == [], "a paused one has no ticks"
    fleet.store.recurring.resume("job")
    fleet.tick()
    assert fleet.dues() == [NOON + number * MINUTE for number in dues]
    missed = fleet.history()[: 5 - len(dues)]
    assert all(tick.reason and tick.reason.startswith("it was paused") for tick in missed)
    assert fleet.job().next_at == NOON + 6 * MINUTE
    # The next time it is again for want of a server.
    fleet.tick(NOON + 9 * MINUTE)
    for tick in fleet.history()[5:7]:
        assert tick.outcome == "run" or (tick.reason or "").startswith("no server was there")


def test_resuming_before_anything_was_missed(fleet: Fleet) -> None:
    fleet.declare()
    fleet.store.recurring.pause("job")
    fleet.store.recurring.resume("job")
    fleet.tick(NOON + 3 * MINUTE)
    assert (fleet.history()[0].reason or "").startswith("no server was there")


# -- jitter


def test_jitter_moves_the_start_and_not_the_due_time(fleet: Fleet) -> None:
    fleet.declare(**policy(jitter=50))
    due = NOON + MINUTE
    fleet.tick(due)
    (job,) = fleet.jobs()
    assert (job.due, job.run_at) == (due, start_of("job", due, 50.0))
    assert job.state == "Scheduled"
    assert fleet.worker.claim() == []
    fleet.clock.set(job.run_at)
    assert fleet.worker.claim_one().due == due


def test_jitter_of_ticks_that_were_missed(fleet: Fleet) -> None:
    """Those that would have started by now start now."""
    fleet.declare(**policy("all", jitter=30))
    fleet.tick(NOON + 5 * MINUTE)
    jobs = fleet.jobs()
    assert {job.state.value for job in jobs[:-1]} == {"Enqueued"}
    assert jobs[-1].run_at == start_of("job", NOON + 5 * MINUTE, 30.0)


def test_many_with_one_due_time_spread(fleet: Fleet) -> None:
    for number in range(50):
        fleet.declare(f"job-{number}", cron="0 * * * *", **policy(jitter=timedelta(minutes=10)))
    fleet.tick(NOON + HOUR)
    starts = {fleet.jobs(f"job-{number}")[0].run_at for number in range(50)}
    assert len(starts) == 50
    assert max(starts) - min(starts) > timedelta(minutes=7)
    assert max(starts) <= NOON + HOUR + timedelta(minutes=10)
