"""How many runs of a recurring job are kept, whatever the retention."""

from __future__ import annotations

import time
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_recurring._server.cleaner import Cleaning, Retention, cleanings
from flask_recurring._store import Store
from flask_recurring._store import purge as purging
from flask_recurring._store.purge import PurgeCursor
from flask_recurring.job import JobState
from tests.store.samples import change, definition, row_count, write_rows

DAY = timedelta(days=1)
ENDS = [JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED]


def keeps(store: Store, **kept: int | None) -> None:
    """Let recurring jobs keep so many runs."""
    store.recurring.save([definition(id, keep=keep) for id, keep in kept.items()])


def fill(
    store: Store,
    recurring_id: str | None,
    count: int,
    state: JobState = JobState.SUCCEEDED,
    age: timedelta = 2 * DAY,
) -> None:
    """Add so many runs that finished so long ago."""
    at = store.now() - age
    job = {"task": "work", "arguments": "[[],{}]", "queue": "default", "priority": 0}
    times = {"run_at": at, "created_at": at, "started_at": at, "finished_at": at}
    more = {"state": state.value, "recurring_id": recurring_id}
    write_rows(store, store.database.tables.job, [job | times | more] * count)


def kept(store: Store, recurring_id: str) -> list[int]:
    """Ids of the runs that are there, oldest first."""
    job = store.database.tables.job.c
    statement = sa.select(job.id).where(job.recurring_id == recurring_id).order_by(job.id)
    with store.database.connect() as connection:
        return list(connection.execute(statement).scalars())


def surplus(store: Store, connection: sa.Connection) -> tuple[int, int]:
    """Delete what is beyond: how many runs, in how many steps."""
    after: str | None = ""
    deleted = steps = 0
    while after is not None:
        some, after = store.jobs.purge_surplus(connection, after)
        deleted += some
        steps += 1
    return deleted, steps


def test_those_that_are_kept_stay_however_old(store: Store) -> None:
    keeps(store, keeper=5, plain=None)
    for id in ("keeper", "plain", None):
        fill(store, id, 8)
    assert store.jobs.purge(DAY, ENDS) == 16
    assert len(kept(store, "keeper")) == 8


def test_those_beyond_go_however_young(store: Store, connection: sa.Connection) -> None:
    keeps(store, few=2, many=10, plain=None)
    for id in ("few", "many", "plain"):
        fill(store, id, 3, JobState.FAILED, age=timedelta(0))
        fill(store, id, 3, age=timedelta(0))
        fill(store, id, 1, JobState.DELETED, age=timedelta(0))
    newest = kept(store, "few")[-2:]
    assert surplus(store, connection) == (5, 1)
    assert kept(store, "few") == newest
    assert (len(kept(store, "many")), len(kept(store, "plain"))) == (7, 7)
    assert surplus(store, connection) == (0, 1)


def test_what_is_not_over_counts_for_nothing(store: Store, connection: sa.Connection) -> None:
    keeps(store, job=1)
    fill(store, "job", 2)
    for _ in range(3):
        store.recurring.trigger("job")
    assert surplus(store, connection) == (1, 1)
    assert len(kept(store, "job")) == 4


def test_some_recurring_jobs_at_a_time(
    store: Store, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "IDS", 4)
    monkeypatch.setattr(purging, "SURVEYED", 5)
    monkeypatch.setattr(purging, "CHUNK", 3)
    ids = [f"job{number}" for number in range(10)]
    keeps(store, **dict.fromkeys(ids, 2))
    for id in ids:
        fill(store, id, 4)
    deleted, steps = surplus(store, connection)
    assert deleted == 20
    assert steps >= 10
    assert {len(kept(store, id)) for id in ids} == {2}


def test_one_that_keeps_more_than_is_surveyed_at_once(
    store: Store, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "SURVEYED", 3)
    keeps(store, a=5, b=5)
    for id in "ab":
        fill(store, id, 6)
    assert surplus(store, connection) == (2, 2)


def test_nobody_keeps_anything(store: Store, connection: sa.Connection) -> None:
    fill(store, "job", 3)
    assert surplus(store, connection) == (0, 1)


def test_the_walk_goes_on_where_it_was_past_those_that_are_kept(
    store: Store, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "CHUNK", 10)
    keeps(store, keeper=50)
    fill(store, "keeper", 25, age=3 * DAY)
    fill(store, None, 12)
    place = PurgeCursor()
    chunks = []
    more = True
    while more:
        deleted, more = store.jobs.purge_chunk(connection, JobState.SUCCEEDED, DAY, place)
        chunks.append((deleted, more))
    assert chunks == [(0, True), (0, True), (5, True), (7, False)]
    # Nothing is stepped over a second time.
    fill(store, None, 1)
    assert store.jobs.purge_chunk(connection, JobState.SUCCEEDED, DAY, place) == (1, False)
    assert len(kept(store, "keeper")) == 25


def test_a_success_that_goes_is_noted(store: Store, connection: sa.Connection) -> None:
    keeps(store, job=1)
    fill(store, "job", 2)
    fill(store, "job", 1, JobState.FAILED)
    wanted = kept(store, "job")[1]
    assert surplus(store, connection) == (2, 1)
    found = store.recurring.previous_run("job", 10**9)
    assert found is not None
    assert found.job_id == wanted


def janitor(store: Store) -> list[Cleaning]:
    given: dict[str, Any] = {one.name: DAY for one in fields(Retention)}
    return cleanings(store, Retention(**given))


def clean(store: Store, janitor: list[Cleaning], connection: sa.Connection) -> None:
    """Let it have its turn, to the end."""
    change(store, store.database.tables.chore, next_at=datetime(2020, 1, 1, tzinfo=UTC))
    for one in janitor:
        one.perform(connection)
        while one._behind:
            one.perform(connection)


def test_the_janitor_sees_to_both(
    store: Store, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeps(store, keeper=2, plain=None)
    for id in ("keeper", "plain"):
        fill(store, id, 4)
    cleaner = janitor(store)
    clean(store, cleaner, connection)
    assert (len(kept(store, "keeper")), kept(store, "plain")) == (2, [])
    # Until it is to keep no more of them: the retention counts again, after a while.
    keeps(store, keeper=None)
    clean(store, cleaner, connection)
    assert len(kept(store, "keeper")) == 2
    later = time.monotonic() + 3_700
    monkeypatch.setattr(time, "monotonic", lambda: later)
    clean(store, cleaner, connection)
    assert kept(store, "keeper") == []
    assert row_count(store, store.database.tables.job) == 0
