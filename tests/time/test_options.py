"""One specification of the options: what it takes, what it keeps, and that all follow it."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_recurring import RecurringJob, Scheduler
from flask_recurring._flask.decorator import Declaration
from flask_recurring._recurring.options import (
    JOB,
    OPTIONS,
    OVERRIDABLE,
    Kind,
    Overrides,
    RecurringOptions,
    checked,
)
from flask_recurring._recurring.policy import Misfire
from flask_recurring._store import Store
from flask_recurring.errors import ConfigurationError
from tests.store.samples import definition


def test_type_checkers_know_each_option_and_no_other() -> None:
    assert Overrides.__annotations__.keys() == OVERRIDABLE.keys()
    declared = OPTIONS.keys() - {"cron"} | {"args", "kwargs", "allow_never"}
    assert RecurringOptions.__annotations__.keys() == declared


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("latest", "latest"),
        ("all", "all"),
        ("Skip", "skip"),
        ("relaxed", "latest"),
        ("Strict", "all"),
        ("ignorable", "skip"),
        (Misfire.ALL, "all"),
    ],
)
def test_hangfires_names_are_understood(given: Any, wanted: str) -> None:
    assert checked({"misfire": given}) == {"misfire": wanted}


def test_times_may_be_seconds_or_timedeltas() -> None:
    assert checked({"jitter": timedelta(minutes=2), "misfire_grace": 0.5}) == {
        "jitter": 120.0,
        "misfire_grace": 0.5,
    }
    assert checked({"jitter": timedelta(0)}) == checked({"jitter": None}) == {"jitter": 0.0}


def test_every_is_kept_as_a_cron() -> None:
    assert checked({"every": timedelta(minutes=1)}) == {"cron": "@every 60s"}


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
        checked(given)


def test_the_text_of_a_definition_is_what_earlier_versions_wrote() -> None:
    """Another text would be another definition: servers of two versions would undo each other's."""
    given: RecurringOptions = {
        "timezone": "Europe/Berlin",
        "start": datetime(2026, 1, 1, tzinfo=UTC),
        "end": datetime(2027, 1, 1, tzinfo=UTC),
        "queue": "mail",
        "priority": -2,
        "retry": [1, timedelta(minutes=1)],
        "timeout": timedelta(seconds=5),
        "misfire": "strict",
        "misfire_limit": 5,
        "misfire_grace": 2.5,
        "overlap": "queue",
        "jitter": 9,
        "keep": 3,
    }
    scheduler = Scheduler()
    task = scheduler.task("work")(lambda: None)
    full = Declaration("recurring", "full", None, timedelta(seconds=90), given, []).of(task)
    assert full.declared() == (
        '{"task":"work","arguments":"[[],{}]","queue":"mail","priority":-2,"cron":"@every 90s",'
        '"timezone":"Europe/Berlin","retry":"{\\"attempts\\":2,\\"delays\\":[1.0,60.0]}",'
        '"timeout":5.0,"start":"2026-01-01T00:00:00+00:00","end":"2027-01-01T00:00:00+00:00",'
        '"misfire":"all","misfire_limit":5,"misfire_grace":2.5,"overlap":"queue","jitter":9.0,'
        '"keep":3}'
    )
    assert full.fields().keys() == OPTIONS.keys() | {"task", "arguments"}


def test_each_option_has_its_column_and_its_attribute(store: Store) -> None:
    columns = store.database.tables.recurring_job.c
    assert {option.column for option in OPTIONS.values()} <= {*columns.keys()}
    own = {name for name, option in OPTIONS.items() if option.column != JOB}
    assert own <= RecurringJob.__dataclass_fields__.keys()
    store.recurring.save([definition()])
    found = store.recurring.get("nightly")
    assert found is not None
    kinds: dict[Kind, Any] = {
        Kind.CHOICE: enum.StrEnum,
        Kind.LENGTH: timedelta,
        Kind.COUNT: (int, type(None)),
    }
    for name in own:
        assert isinstance(getattr(found, name), kinds.get(OPTIONS[name].kind, object))
