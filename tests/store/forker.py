"""A program for the tests of connections: uses a database, forks, and uses it on both sides.

``python -m tests.store.forker <url>`` ends with 0 if both sides wrote all that they should.
"""

from __future__ import annotations

import os
import sys
import traceback

from flask_recurring._store import Database, DedicatedConnection, NewJob, Store, create_engine

ROUNDS = 50


def write(store: Store, dedicated: DedicatedConnection) -> None:
    """Write jobs by both kinds of connection."""
    for _ in range(ROUNDS):
        job = store.jobs.insert(NewJob("work", "[[],{}]"))
        assert store.jobs.get(job.id) == job
        with dedicated.use() as connection:
            store.database.driver.insert(connection, NewJob("work", "[[],{}]"), None)


def fork(url: str) -> int:
    """Returns the child's exit status."""
    store = Store(Database(create_engine(url)))
    dedicated = store.database.dedicated("parent")
    write(store, dedicated)
    child = os.fork()
    if child == 0:
        try:
            store.database.after_fork()
            # What closes in the child must not end the parent's session.
            dedicated.close()
            write(store, store.database.dedicated("child"))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    write(store, dedicated)
    _, status = os.waitpid(child, 0)
    write(store, dedicated)
    dedicated.close()
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(fork(sys.argv[1]))
