"""Ticks where a zone's clock is set forward and back, and where a database's clock is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from flask_recurring._recurring.policy import MisfireWord
from tests.time.fleet import Fleet

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE = timedelta(minutes=1)


def through(fleet: Fleet, start: datetime, end: datetime, step: timedelta) -> None:
    """Let the fleet tick from one time to another, a step at a time."""
    moment = start
    while moment <= end:
        fleet.tick(moment)
        moment += step


def at(hour: int, minute: int, day: int, month: int) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def local(fleet: Fleet) -> list[str]:
    """The ticks, as clocks in Berlin showed them."""
    return [due.astimezone(BERLIN).strftime("%d %H:%M %Z") for due in fleet.dues() if due]


@pytest.mark.parametrize(
    ("cron", "wanted"),
    [
        ("30 2 * * *", ["28 02:30 CET", "29 03:00 CEST", "30 02:30 CEST"]),
        ("0 3 * * *", ["28 03:00 CET", "29 03:00 CEST", "30 03:00 CEST"]),
        ("0 5 * * *", ["28 05:00 CET", "29 05:00 CEST", "30 05:00 CEST"]),
    ],
)
def test_in_spring_an_hour_is_missing(fleet: Fleet, cron: str, wanted: list[str]) -> None:
    fleet.clock.set(at(0, 0, 28, 3))
    fleet.declare(cron=cron, timezone="Europe/Berlin")
    through(fleet, at(0, 30, 28, 3), at(12, 0, 30, 3), 30 * MINUTE)
    assert local(fleet) == wanted
    assert {tick.outcome for tick in fleet.history()} == {"run"}


@pytest.mark.parametrize(
    ("cron", "wanted"),
    [
        ("30 2 * * *", ["24 02:30 CEST", "25 02:30 CEST", "26 02:30 CET"]),
        (
            "*/30 2 * * *",
            [
                *("24 02:00 CEST", "24 02:30 CEST"),
                *("25 02:00 CEST", "25 02:30 CEST", "25 02:00 CET", "25 02:30 CET"),
                *("26 02:00 CET", "26 02:30 CET"),
            ],
        ),
    ],
)
def test_in_autumn_an_hour_comes_twice(fleet: Fleet, cron: str, wanted: list[str]) -> None:
    fleet.clock.set(at(22, 15, 23, 10))
    fleet.declare(cron=cron, timezone="Europe/Berlin")
    through(fleet, at(22, 30, 23, 10), at(12, 0, 26, 10), 30 * MINUTE)
    assert local(fleet) == wanted


def test_an_interval_knows_no_change(fleet: Fleet) -> None:
    fleet.clock.set(at(23, 50, 24, 10))
    fleet.declare(cron="@every 3600s", timezone="Europe/Berlin")
    through(fleet, at(0, 0, 25, 10), at(4, 0, 25, 10), 30 * MINUTE)
    assert fleet.dues() == [at(hour, 0, 25, 10) for hour in range(5)]


@pytest.mark.parametrize(
    ("misfire", "wanted"),
    [("latest", ["29 03:00 CEST"]), ("all", ["28 02:30 CET", "29 03:00 CEST"])],
)
def test_what_was_missed_over_the_change(
    fleet: Fleet, misfire: MisfireWord, wanted: list[str]
) -> None:
    fleet.clock.set(at(0, 0, 28, 3))
    fleet.declare(cron="30 2 * * *", timezone="Europe/Berlin", misfire=misfire)
    fleet.tick(at(6, 0, 29, 3))
    assert local(fleet) == wanted
    assert len(fleet.history()) == 2


def test_an_edit_of_the_zone_moves_the_next_tick(fleet: Fleet) -> None:
    fleet.clock.set(at(0, 0, 29, 3))
    fleet.declare(cron="0 12 * * *", timezone="Europe/Berlin")
    assert fleet.job().next_at == at(10, 0, 29, 3)
    fleet.store.recurring.override("job", {"timezone": "America/New_York"}, actor="Ann")
    assert fleet.job().next_at == at(16, 0, 29, 3)
    fleet.tick(at(11, 0, 29, 3))
    assert fleet.dues() == []
    fleet.tick(at(16, 0, 29, 3))
    assert fleet.dues() == [at(16, 0, 29, 3)]


def test_a_clock_that_is_set_back_gives_no_tick_twice(fleet: Fleet) -> None:
    fleet.declare()
    fleet.tick(at(12, 1, 1, 3))
    fleet.tick(at(12, 2, 1, 3))
    fleet.clock.set(at(11, 30, 1, 3))
    fleet.tick()
    fleet.tick(at(12, 2, 1, 3) + timedelta(seconds=30))
    assert fleet.dues() == [at(12, 1, 1, 3), at(12, 2, 1, 3)]
    # Not even if the schedule is reckoned anew meanwhile.
    fleet.clock.set(at(11, 59, 1, 3))
    fleet.declare(cron="*/1 * * * *")
    for minute in range(4):
        fleet.tick(at(12, minute, 1, 3))
    assert fleet.dues() == [at(12, minute, 1, 3) for minute in (1, 2, 0, 3)]
    assert len(fleet.history()) == 4
