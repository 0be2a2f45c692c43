"""How many jobs a second a process can enqueue.

Singly: ``task.enqueue`` in turns with the bare insert of the same row over the driver alone, each
in a transaction of its own, so that disk and neighbours treat both alike. In bulk:
``enqueue_many`` over a generator of calls. No server runs meanwhile.
"""

from __future__ import annotations

import sqlite3
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from statistics import median

import psycopg

from .application import nothing, scheduler
from .client import QUEUE, Client, client_of
from .database import Databases, PostgresTarget, Target
from .drain import no_ops
from .result import Result

TURN = 100
"""Inserts of one kind before it is the other's turn."""

WARM_UP = 50
"""Inserts that are not measured: connections are opened and statements prepared by them."""

COLUMNS = "(task, arguments, queue, priority, state, run_at, created_at)"


@contextmanager
def bare_insert(target: Target, client: Client) -> Iterator[Callable[[], object]]:
    """The insert of one row like those that ``nothing.enqueue(1)`` makes, by the driver alone."""
    new = nothing.call(1).new
    values = (new.task, new.arguments, QUEUE, new.priority)
    table = client.store.database.tables.name("job")
    if isinstance(target, PostgresTarget):
        statement = (
            f"INSERT INTO {table} {COLUMNS} VALUES (%s, %s, %s, %s, 'Enqueued', now(), now())"
            " RETURNING id, created_at, run_at"
        ).encode()
        with psycopg.connect(target.dsn, autocommit=True) as connection:
            yield lambda: connection.execute(statement, values).fetchone()
        return
    path = target.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        sql = (
            f"INSERT INTO {table} {COLUMNS} VALUES (?, ?, ?, ?, 'Enqueued', ?, ?)"
            " RETURNING id, created_at, run_at"
        )

        def insert() -> object:
            now = time.time_ns() // 1000
            return file.execute(sql, (*values, now, now)).fetchone()

        yield insert


def singles(target: Target, client: Client, count: int) -> tuple[float, float]:
    """Seconds for one ``enqueue`` and for one bare insert: medians of turns, taken alternately."""
    ours: list[float] = []
    bare: list[float] = []
    with bare_insert(target, client) as insert:
        ways: list[tuple[list[float], Callable[[], object]]] = [
            (ours, lambda: nothing.enqueue(1)),
            (bare, insert),
        ]
        for _, way in ways:
            for _ in range(WARM_UP):
                way()
        for _ in range(max(1, count // TURN)):
            for times, way in ways:
                began = time.perf_counter()
                for _ in range(min(TURN, count)):
                    way()
                times.append((time.perf_counter() - began) / min(TURN, count))
            ways.reverse()
    return median(ours), median(bare)


def bulk(count: int) -> float:
    """Seconds that ``enqueue_many`` takes for ``count`` calls."""
    began = time.perf_counter()
    scheduler.enqueue_many(no_ops(count))
    return time.perf_counter() - began


def add_options(parser: ArgumentParser) -> None:
    """Sizes of this benchmark."""
    parser.add_argument("--jobs", type=int, default=5_000, help="jobs to enqueue one by one")
    parser.add_argument("--bulk", type=int, default=200_000, help="jobs to enqueue at once")
    parser.add_argument("--rounds", type=int, default=3, help="times in bulk; the median is told")


def run(databases: Databases, options: Namespace) -> Result:
    """Enqueue singly, then in bulk."""
    with databases.fresh() as target, client_of(target.url) as client:
        one, bare = singles(target, client, options.jobs)
    in_bulk = []
    for _ in range(options.rounds):
        with databases.fresh() as target, client_of(target.url):
            in_bulk.append(bulk(options.bulk))
    return Result(
        {
            "jobs": options.jobs,
            "single_per_second": 1 / one,
            "bare_insert_per_second": 1 / bare,
            "single_to_bare": bare / one,
            "bulk_jobs": options.bulk,
            "bulk_per_second": options.bulk / median(in_bulk),
        }
    )
