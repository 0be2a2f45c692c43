"""The audit: every action of an operator leaves an entry."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from flask_recurring.store import Store
from tests.store.conftest import OpenStore
from tests.store.race import race
from tests.store.samples import row_count, set_back


def test_entries_come_newest_first(store: Store) -> None:
    assert store.audit.newest() == []
    before = store.now()
    for number in range(5):
        store.audit.record("Ann", "delete", f"job {number}", "from the list")
    store.audit.record("Bob", "pause", "nightly")
    entries = store.audit.newest()
    assert [one.target for one in entries] == ["nightly", *(f"job {n}" for n in (4, 3, 2, 1, 0))]
    assert (entries[0].actor, entries[0].action, entries[0].detail) == ("Bob", "pause", "")
    assert entries[1].detail == "from the list"
    assert all(before <= one.at <= store.now() for one in entries)
    assert len({one.id for one in entries}) == 6
    assert store.audit.newest(limit=2) == entries[:2]


def test_any_text_is_kept_as_far_as_it_goes(store: Store) -> None:
    for text in ("\0", "\ud800", "x" * 10_000, "'; --", "%s %(x)s ?", ""):
        store.audit.record(text, text, text, text)
        [entry] = store.audit.newest(limit=1)
        for kept, most in ((entry.actor, 200), (entry.action, 200), (entry.target, 500)):
            assert len(kept) == min(len(text), most)
        assert len(entry.detail) == min(len(text), 2_000)
        assert entry.detail.endswith("…") is (len(text) > 2_000)


def test_many_at_once(store: Store, open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(3)]

    def record(number: int) -> None:
        for _ in range(10):
            stores[number].audit.record(f"actor {number}", "act", "")

    race(3, record)
    assert row_count(store, store.database.tables.audit) == 30


def test_old_entries_are_forgotten(store: Store, connection: sa.Connection) -> None:
    table = store.database.tables.audit
    for actor in ("old", "new"):
        store.audit.record(actor, "act", "target")
    set_back(store, table.c.at, timedelta(days=366), table.c.actor == "old")
    store.audit.purge(connection, timedelta(days=365))
    assert [one.actor for one in store.audit.newest()] == ["new"]
