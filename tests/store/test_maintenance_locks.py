"""Chores: one of many has the turn."""

from __future__ import annotations

import sqlalchemy as sa

from flask_recurring._store import Store
from tests.store.conftest import OpenStore
from tests.store.race import race
from tests.store.samples import fail, row_count


def test_the_turn_comes_once_in_an_interval(store: Store, connection: sa.Connection) -> None:
    maintenance_locks, next_at = store.maintenance_locks, store.database.tables.chore.c.next_at
    assert maintenance_locks.take_turn(connection, "clean", 60) is True
    assert maintenance_locks.take_turn(connection, "clean", 60) is False
    assert maintenance_locks.take_turn(connection, "count", 60) is True
    fail(store, next_at, -1.5)
    assert maintenance_locks.take_turn(connection, "clean", 60) is False
    fail(store, next_at, 0.5)
    assert maintenance_locks.take_turn(connection, "clean", 60) is True
    assert maintenance_locks.take_turn(connection, "clean", 60) is False
    assert row_count(store, store.database.tables.chore) == 2


def test_one_of_many_has_the_turn(store: Store, open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(4)]
    connections = [one.database.open("control") for one in stores]
    rounds = 10
    for _ in range(rounds):
        turns = race(
            4,
            lambda number: stores[number].maintenance_locks.take_turn(
                connections[number], "clean", 60
            ),
        )
        assert sorted(turns) == [False, False, False, True]
        fail(store, store.database.tables.chore.c.next_at, 1)
    for connection in connections:
        connection.close()
