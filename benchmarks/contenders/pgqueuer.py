"""PgQueuer: https://github.com/janbjorge/pgqueuer.

As its guide to performance has it: asyncpg with a connection of its own for each queue manager,
uvloop, its settings for autovacuum, batches that suit jobs which take no time, and all tables
logged, as here. It runs coroutines; a plain function goes to a thread by ``asyncio.to_thread``,
which is what its own error message says.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg
import psycopg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import SyncPsycopgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries, SyncQueries

from ..database import PostgresTarget
from ..latency import Send
from ..runs import VARIABLE, RunLog
from .contender import DSN, Peer
from .gate import pass_gate

CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Tuning:
    """The numbers that gave the most jobs per second here.

    The latency is measured with one manager: of several, each is woken by each job.
    """

    managers: int
    """Queue managers in a process, with a connection each."""
    batch: int
    """Jobs that each takes at once."""


TUNINGS = {"threads": Tuning(managers=1, batch=100), "coroutines": Tuning(managers=2, batch=500)}


class PgQueuerContender(Peer):
    """PgQueuer with plain functions in threads, or with coroutines."""

    module = __name__
    done = (
        "SELECT NOT EXISTS (SELECT FROM pgqueuer"
        " WHERE id = (SELECT last_value FROM pgqueuer_id_seq))"
        " AND NOT EXISTS (SELECT FROM pgqueuer)"
    )
    tally = (
        "SELECT count(*) FILTER (WHERE status = 'successful'), extract(epoch FROM"
        " now() - min(created) FILTER (WHERE status = 'picked')) FROM pgqueuer_log"
    )

    def __init__(self, kind: str, share: float) -> None:
        self.name = f"pgqueuer_{kind}"
        self.arguments = (kind,)
        self.share = share

    def install(self, target: PostgresTarget) -> None:
        async def install() -> None:
            connection = await asyncpg.connect(target.dsn)
            queries = Queries.from_asyncpg_connection(connection)
            await queries.install()
            await queries.optimize_autovacuum()
            await connection.close()

        asyncio.run(install())

    def fill(self, target: PostgresTarget, jobs: int) -> None:
        with self._queries(target) as queries:
            for begin in range(0, jobs, CHUNK):
                count = min(CHUNK, jobs - begin)
                queries.enqueue(["nothing"] * count, [b"1"] * count, [0] * count)

    @contextmanager
    def sender(self, target: PostgresTarget) -> Iterator[Send]:
        with self._queries(target) as queries:
            yield lambda sent: queries.enqueue("note", str(sent).encode())

    @contextmanager
    def _queries(self, target: PostgresTarget) -> Iterator[SyncQueries]:
        with psycopg.connect(target.dsn, autocommit=True) as connection:
            yield SyncQueries(SyncPsycopgDriver(connection))


def nothing(job: Job) -> None:
    """Do nothing."""


def note(job: Job) -> None:
    """Note the job's latency."""
    now = time.monotonic_ns()
    assert job.payload is not None
    _runs.note(now - int(job.payload))


def entrypoint(kind: str, function: Callable[[Job], None]) -> Callable[[Job], Awaitable[None]]:
    """The function as PgQueuer takes it."""

    async def in_thread(job: Job) -> None:
        await asyncio.to_thread(function, job)

    async def as_coroutine(job: Job) -> None:
        function(job)

    return in_thread if kind == "threads" else as_coroutine


async def work(kind: str, dsn: str) -> None:
    """Take jobs until SIGTERM."""
    tuning = TUNINGS[kind]
    count = 1 if VARIABLE in os.environ else tuning.managers
    connections = [await asyncpg.connect(dsn) for _ in range(count)]
    managers = [PgQueuer.from_asyncpg_connection(connection) for connection in connections]
    for manager in managers:
        manager.entrypoint("nothing")(entrypoint(kind, nothing))
        manager.entrypoint("note")(entrypoint(kind, note))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, manager.shutdown.set)
    await asyncio.to_thread(pass_gate, dsn)
    await asyncio.gather(*(manager.run(batch_size=tuning.batch) for manager in managers))


if __name__ == "__main__":
    if VARIABLE in os.environ:
        _runs = RunLog.given()
    uvloop.run(work(sys.argv[1], os.environ[DSN]))
