"""The audit: every act leaves an entry, which is there if, and only if, the act was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_recurring._store import APPLICATION, Store, StoreUnusable
from flask_recurring._store.audit import AuditEntry, entry
from flask_recurring._store.commands import CHUNK
from flask_recurring.job import JobState
from tests.store.conftest import OpenStore
from tests.store.race import race
from tests.store.samples import definition, fail, new_job, row_count

DAY = timedelta(days=1)
ENDS = [JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED]


def record(store: Store, *texts: str) -> None:
    with store.database.begin() as connection:
        connection.execute(entry(store.database.tables.audit, *texts))


def test_entries_come_newest_first(store: Store) -> None:
    assert store.audit.newest() == []
    before = store.now()
    for number in range(5):
        record(store, "Ann", "delete", f"job {number}", "from the list")
    record(store, "Bob", "pause", "nightly")
    entries = store.audit.newest()
    assert [one.target for one in entries] == ["nightly", *(f"job {n}" for n in (4, 3, 2, 1, 0))]
    assert (entries[0].actor, entries[0].action, entries[0].detail) == ("Bob", "pause", "")
    assert entries[1].detail == "from the list"
    assert all(before <= one.at <= store.now() for one in entries)
    assert len({one.id for one in entries}) == 6
    assert store.audit.newest(limit=2) == entries[:2]


def test_any_text_is_kept_as_far_as_it_goes(store: Store) -> None:
    for text in ("\0", "\ud800", "x" * 10_000, "'; --", "%s %(x)s ?", ""):
        record(store, text, text, text, text)
        [entry] = store.audit.newest(limit=1)
        for kept, most in ((entry.actor, 200), (entry.action, 200), (entry.target, 500)):
            assert len(kept) == min(len(text), most)
        assert len(entry.detail) == min(len(text), 2_000)
        assert entry.detail.endswith("…") is (len(text) > 2_000)


def test_many_at_once(store: Store, open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(3)]
    ids = store.jobs.insert_many(new_job() for _ in range(30))

    def delete(number: int) -> None:
        for id in ids[number::3]:
            stores[number].jobs.delete(id, f"actor {number}")

    race(3, delete)
    assert row_count(store, store.database.tables.audit) == 30


def test_old_entries_are_forgotten(store: Store, connection: sa.Connection) -> None:
    table = store.database.tables.audit
    for actor in ("old", "new"):
        record(store, actor, "act", "target")
    fail(store, table.c.at, timedelta(days=366), table.c.actor == "old")
    assert not store.audit.expiry(timedelta(days=365)).delete_some(connection)
    assert [one.actor for one in store.audit.newest()] == ["new"]


# -- acts


class Acts:
    """Each act once, on rows that are there for it."""

    def __init__(self, store: Store) -> None:
        jobs, recurring, queues = store.jobs, store.recurring, store.queues
        recurring.declare([definition(id) for id in ("a", "b", "c", "d")], "app")
        recurring.pause("c", "before")
        waiting, deleted, purged = (jobs.insert(new_job()).id for _ in range(3))
        jobs.delete_all([deleted, purged], "before")
        fail(store, store.database.tables.job.c.finished_at, 2 * DAY, job(store).id == purged)
        self.all: dict[tuple[str, str], Callable[..., Any]] = {
            ("job.delete", str(waiting)): lambda **by: jobs.delete(waiting, **by),
            ("job.requeue", str(deleted)): lambda **by: jobs.requeue(deleted, **by),
            ("jobs.purge", "1 jobs"): lambda **by: jobs.purge(DAY, ENDS, **by),
            ("recurring.trigger", "a"): lambda **by: recurring.trigger("a", **by),
            ("recurring.pause", "b"): lambda **by: recurring.pause("b", **by),
            ("recurring.resume", "c"): lambda **by: recurring.resume("c", **by),
            ("recurring.remove", "d"): lambda **by: recurring.remove("d", **by),
            ("recurring.add", "e"): lambda **by: recurring.save([definition("e")], **by),
            ("recurring.update", "a"): lambda **by: recurring.save(
                [definition("a", cron="1 1 * * *")], **by
            ),
            ("queue.pause", "mail"): lambda **by: queues.pause("mail", **by),
            ("queue.resume", "mail"): lambda **by: queues.resume("mail", **by),
        }


def job(store: Store) -> Any:
    return store.database.tables.job.c


def state(store: Store) -> dict[str, list[Any]]:
    """All that acts change."""
    tables = store.database.tables
    changed = (tables.job, tables.recurring_job, tables.tick, tables.queue)
    with store.database.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(table.select())]
            for table in changed
        }


@contextmanager
def no_audit(store: Store) -> Iterator[None]:
    """A database in which no entry can be written."""
    name = store.database.tables.audit.name
    schema = store.database.tables.schema
    place = f"{schema}." if schema else ""
    with store.database.connect() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {place}{name} RENAME TO away")
        try:
            yield
        finally:
            connection.exec_driver_sql(f"ALTER TABLE {place}away RENAME TO {name}")


def test_each_act_leaves_an_entry(store: Store) -> None:
    acts = Acts(store)
    for (action, target), act in acts.all.items():
        act(actor="Ann")
        newest = store.audit.newest(limit=1)[0]
        assert (newest.actor, newest.action, newest.target) == ("Ann", action, target)


def test_from_python_it_is_the_application(store: Store) -> None:
    acts = Acts(store)
    for act in acts.all.values():
        act()
    entries = [one for one in store.audit.newest() if one.actor != "before"]
    assert {one.actor for one in entries} == {APPLICATION}
    assert len(entries) == len(acts.all)


def test_an_act_that_cannot_be_recorded_is_not_done(store: Store) -> None:
    acts = Acts(store)
    for act in acts.all.values():
        before = state(store)
        with no_audit(store), pytest.raises(StoreUnusable):
            act(actor="Ann")
        assert state(store) == before
        act(actor="Ann")


def test_what_changes_nothing_leaves_none(store: Store) -> None:
    id = store.jobs.insert(new_job()).id
    store.recurring.declare([definition()], "app")
    assert not store.jobs.requeue(id)
    assert not store.jobs.delete(id + 1)
    assert not store.jobs.delete(2**70)
    assert store.jobs.purge(DAY, ENDS) == 0
    store.recurring.resume("nightly")
    assert store.audit.newest() == []


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """The statements that the block executes."""
    found: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        found.append(statement)

    sa.event.listen(store.database.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(store.database.engine, "before_cursor_execute", note)


def test_many_jobs_are_changed_by_few_statements(store: Store) -> None:
    ids = store.jobs.insert_many(new_job(queue="ab"[n % 2]) for n in range(2 * CHUNK))
    for act in (store.jobs.delete_all, store.jobs.requeue_all):
        with statements(store) as found:
            assert act([*ids, *ids, 0, -1], "Ann") == ids
        assert len(found) <= 2 * 6
    entries = store.audit.newest(limit=5 * CHUNK)
    assert [one.target for one in reversed(entries)] == [str(id) for id in (*ids, *ids)]
    assert {(one.actor, one.action) for one in entries} == {
        ("Ann", "job.delete"),
        ("Ann", "job.requeue"),
    }


def test_what_was_done_before_it_broke_off_is_in_the_audit(store: Store) -> None:
    ids = store.jobs.insert_many(new_job() for _ in range(2 * CHUNK))
    late = False

    def break_off(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        nonlocal late
        if late and "audit" in statement:
            raise KeyboardInterrupt  # as a signal between two lines
        late |= "audit" in statement

    sa.event.listen(store.database.engine, "before_cursor_execute", break_off)
    with pytest.raises(KeyboardInterrupt):
        store.jobs.delete_all(ids, "Ann")
    sa.event.remove(store.database.engine, "before_cursor_execute", break_off)
    deleted = [id for id in ids if state_of(store, id) is JobState.DELETED]
    assert deleted == ids[:CHUNK]
    entries: list[AuditEntry] = store.audit.newest(limit=2 * CHUNK)
    assert [one.target for one in reversed(entries)] == [str(id) for id in deleted]


def state_of(store: Store, id: int) -> JobState:
    found = store.jobs.get(id)
    assert found is not None
    return found.state


def test_two_that_change_the_same_jobs_do_not_block_one_another(
    store: Store, open_store: OpenStore
) -> None:
    ids = store.jobs.insert_many(new_job() for _ in range(300))
    stores = [open_store() for _ in range(2)]

    def act(number: int) -> int:
        given = ids if number else ids[::-1]
        done = 0
        for _ in range(5):
            done += len(stores[number].jobs.delete_all(given, "Ann"))
            done += len(stores[number].jobs.requeue_all(given, "Bob"))
        return done

    done = sum(race(2, act))
    assert row_count(store, store.database.tables.audit) == done
