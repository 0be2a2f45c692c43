"""A program for the tests of migrations: many processes that bring a database to a version at once.

``python -m tests.store.migrator <url> <version> <count>`` forks so many processes, lets them begin
together, and prints the version that each of them comes to.
"""

from __future__ import annotations

import os
import sys
import traceback

import sqlalchemy as sa

from flask_recurring._store import Database, create_engine
from flask_recurring._store.migrations import Migration, migrate
from flask_recurring._store.schema import Tables


def add_column(connection: sa.Connection, tables: Tables) -> None:
    """A step as a later version might bring it. It fails if it is taken twice."""
    connection.exec_driver_sql(f"ALTER TABLE {tables.name('job')} ADD COLUMN extra TEXT")


def nothing(connection: sa.Connection, tables: Tables) -> None:
    """A step that changes nothing."""


def steps(version: int) -> tuple[Migration, ...]:
    """Made-up steps from version 1 to this one."""
    return tuple(
        Migration(number, f"step {number}", add_column if number == 2 else nothing)
        for number in range(2, version + 1)
    )


def begin_together(url: str, version: int, count: int) -> int:
    """Returns how many of the processes failed."""
    gate, opener = os.pipe()
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            os.close(opener)
            os.read(gate, 1)  # comes back for all of them when the parent closes its end
            try:
                database = Database(create_engine(url))
                os.write(1, f"version {migrate(database, steps(version))}\n".encode())
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    os.close(opener)
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


if __name__ == "__main__":
    sys.exit(begin_together(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
