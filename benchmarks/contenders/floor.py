"""What the database alone allows: this project's claim and completion statements, and nothing else.

Each process has the two connections that a server claims and completes over, with a thread each, so
that the two overlap. No job is looked at and no function called: the rows that a claim returns are
given to the completion as they are.
"""

from __future__ import annotations

import os
import queue
import threading
import traceback
from typing import Any

from flask_recurring._store import NewServer
from flask_recurring._store.claim import LOST_LIMIT
from flask_recurring._store.postgresql import literal, raw
from flask_recurring._store.postgresql.statements import Statements

from ..application import nothing
from ..client import QUEUE, client_of
from ..database import PostgresTarget
from ..drain import no_ops
from .contender import DSN, Gated
from .gate import pass_gate

BATCH = 500
"""Rows of a statement: about as many as a server takes at once while jobs are short."""

AHEAD = 2
"""Batches that are claimed before an earlier one is completed."""

TABLE = "flask_recurring.job"


class Floor(Gated):
    """Statements without a job system around them."""

    name = "floor"
    module = __name__
    done = (
        f"SELECT (SELECT finished_at IS NOT NULL FROM {TABLE} ORDER BY id DESC LIMIT 1)"
        f" AND NOT EXISTS (SELECT FROM {TABLE} WHERE finished_at IS NULL)"
    )
    tally = f"SELECT count(finished_at), extract(epoch FROM now() - min(started_at)) FROM {TABLE}"

    def install(self, target: PostgresTarget) -> None:
        with client_of(target.url):
            pass

    def fill(self, target: PostgresTarget, jobs: int) -> None:
        with client_of(target.url) as client:
            client.fill(no_ops(jobs))


def work(dsn: str) -> None:
    """Claim and complete until nothing is left, then wait to be ended."""
    with client_of(dsn) as client:
        database = client.store.database
        statements = Statements(database.tables)
        claiming, completing = database.open("claim"), database.open("complete")
        server = NewServer(
            name="floor",
            host="",
            pid=os.getpid(),
            application="",
            version="",
            threads=1,
            queues=("*",),
            tasks=(nothing.name,),
        )
        server_id = client.store.servers.register(claiming, server)
        batches: queue.Queue[list[Any] | None] = queue.Queue(AHEAD)

        def complete() -> None:
            try:
                complete_all()
            except BaseException:
                traceback.print_exc()
                os._exit(1)  # or the others would wait for it

        def complete_all() -> None:
            connection = raw(completing)
            while (rows := batches.get()) is not None:
                ids = literal([row[0] for row in rows])
                claims = literal([row[1] for row in rows])
                zeros = literal([0] * len(rows))
                values = {"ids": ids, "claims": claims, "began": zeros, "ended": zeros}
                connection.execute(statements.succeed, values)

        completer = threading.Thread(target=complete)
        pass_gate(dsn)
        completer.start()
        connection = raw(claiming)
        statement = statements.claim((False,))
        values = {
            "q0": QUEUE,
            "p0": nothing.defaults.priority,
            "tasks": [nothing.name],
            "limit": BATCH,
            "server": server_id,
            "lost_below": LOST_LIMIT,
        }
        while rows := connection.execute(statement, values, binary=True).fetchall():
            batches.put(rows)
        batches.put(None)
        completer.join()
        threading.Event().wait()


if __name__ == "__main__":
    work(os.environ[DSN])
