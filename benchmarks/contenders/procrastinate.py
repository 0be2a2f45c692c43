"""Procrastinate: https://procrastinate.readthedocs.io.

A worker with the concurrency, and a pool with the connections, that gave the most jobs per second
here, and coroutines, which it runs faster than plain functions.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from ..database import PostgresTarget
from ..latency import Send
from ..runs import VARIABLE, RunLog
from .contender import DSN, Peer
from .gate import pass_gate

CHUNK = 1_000
CONCURRENCY = 3
CONNECTIONS = 5
"""One of them listens."""


class ProcrastinateContender(Peer):
    """Procrastinate with coroutines."""

    name = "procrastinate"
    module = __name__
    done = (
        "SELECT (SELECT status NOT IN ('todo', 'doing') FROM procrastinate_jobs"
        " ORDER BY id DESC LIMIT 1) AND NOT EXISTS"
        " (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"
    )
    tally = (
        "SELECT count(*) FILTER (WHERE type = 'succeeded'), extract(epoch FROM"
        " now() - min(at) FILTER (WHERE type = 'started')) FROM procrastinate_events"
    )

    def __init__(self, share: float) -> None:
        self.share = share

    def install(self, target: PostgresTarget) -> None:
        with self._app(target) as app:
            app.schema_manager.apply_schema()

    def fill(self, target: PostgresTarget, jobs: int) -> None:
        with self._app(target) as app:
            for begin in range(0, jobs, CHUNK):
                calls: list[Any] = [{}] * min(CHUNK, jobs - begin)
                app.configure_task("nothing").batch_defer(*calls)

    @contextmanager
    def sender(self, target: PostgresTarget) -> Iterator[Send]:
        with self._app(target) as app:
            deferrer = app.configure_task("note")
            yield lambda sent: deferrer.defer(sent=sent)

    @contextmanager
    def _app(self, target: PostgresTarget) -> Iterator[App]:
        with App(connector=SyncPsycopgConnector(conninfo=target.dsn)).open() as app:
            yield app


async def nothing() -> None:
    """Do nothing."""


async def note(sent: int) -> None:
    """Note the job's latency."""
    now = time.monotonic_ns()
    _runs.note(now - sent)


async def work(dsn: str) -> None:
    """Take jobs until SIGTERM."""
    connector = PsycopgConnector(conninfo=dsn, min_size=CONNECTIONS, max_size=CONNECTIONS)
    app = App(connector=connector)
    app.task(name="nothing")(nothing)
    app.task(name="note")(note)
    async with app.open_async():
        await asyncio.to_thread(pass_gate, dsn)
        await app.run_worker_async(concurrency=CONCURRENCY)


if __name__ == "__main__":
    if VARIABLE in os.environ:
        _runs = RunLog.given()
    asyncio.run(work(os.environ[DSN]))
