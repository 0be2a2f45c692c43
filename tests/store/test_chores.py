"""Chores: one of many has the turn."""

from __future__ import annotations

import sqlalchemy as sa

from flask_recurring._store import Store
from tests.store.conftest import OpenStore
from tests.store.race import race
from tests.store.samples import row_count, set_back


def test_the_turn_comes_once_in_an_interval(store: Store, connection: sa.Connection) -> None:
    chores, next_at = store.chores, store.database.tables.chore.c.next_at
    assert chores.take_turn(connection, "clean", 60) is True
    assert chores.take_turn(connection, "clean", 60) is False
    assert chores.take_turn(connection, "count", 60) is True
    set_back(store, next_at, -1.5)
    assert chores.take_turn(connection, "clean", 60) is False
    set_back(store, next_at, 0.5)
    assert chores.take_turn(connection, "clean", 60) is True
    assert chores.take_turn(connection, "clean", 60) is False
    assert row_count(store, store.database.tables.chore) == 2


def test_one_of_many_has_the_turn(store: Store, open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(4)]
    connections = [one.database.open("control") for one in stores]
    rounds = 10
    for _ in range(rounds):
        turns = race(
            4, lambda number: stores[number].chores.take_turn(connections[number], "clean", 60)
        )
        assert sorted(turns) == [False, False, False, True]
        set_back(store, store.database.tables.chore.c.next_at, 1)
    for connection in connections:
        connection.close()
