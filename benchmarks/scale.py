"""How much of its speed a drain keeps in a database that isn't empty.

Five drains of the same number of jobs, each on a fresh database: with nothing else in it; with many
finished jobs; with many more jobs waiting behind them; with many older jobs of a task that the
servers don't know, in the same queue; and while a transaction holds its snapshot from before the
first to after the last job. What is told is each one's rate as a part of the empty database's, as
the median over the rounds.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import timedelta
from statistics import median
from typing import Any

import sqlalchemy as sa

from .application import nothing
from .client import QUEUE, Client
from .database import Databases, Target
from .drain import drain, no_ops
from .result import Result

CHUNK = 10_000
"""Rows that share their times."""

Drain = Callable[[Target, Namespace], float]


def insert_rows(client: Client, count: int, task: str, ago: timedelta, **columns: Any) -> None:
    """Write job rows straight into the table.

    :param ago: how long ago the first of them was to run; the last one now.
    """
    new = nothing.call(1).new
    moment = client.store.now()
    chunks = -(-count // CHUNK)
    with client.store.database.begin() as connection:
        for number in range(chunks):
            at = moment - ago * (chunks - number) / chunks
            times = {name: at for name, value in columns.items() if value is Ellipsis}
            row = {
                "task": task,
                "arguments": new.arguments,
                "queue": QUEUE,
                "priority": new.priority,
                "state": "Enqueued",
                "run_at": at,
                "created_at": at,
                **columns,
                **times,
            }
            rows = min(CHUNK, count - number * CHUNK)
            connection.execute(_repeated(client.job, row, rows))


def _repeated(table: sa.Table, row: dict[str, Any], count: int) -> sa.Insert:
    """An insert of the same row ``count`` times, made by the database itself."""
    numbers = sa.select(sa.literal(1).label("number")).cte("numbers", recursive=True)
    numbers = numbers.union_all(sa.select(numbers.c.number + 1).where(numbers.c.number < count))
    values = [sa.literal(value, table.c[name].type) for name, value in row.items()]
    return sa.insert(table).from_select(
        list(row), sa.select(*values).select_from(numbers), include_defaults=False
    )


def empty(target: Target, options: Namespace) -> float:
    """Nothing else in the database."""
    return _rate(target, options)


def finished(target: Target, options: Namespace) -> float:
    """Many jobs that finished within the last hours."""

    def prepare(client: Client) -> None:
        insert_rows(
            client,
            options.finished,
            nothing.name,
            timedelta(hours=12),
            state="Succeeded",
            started_at=...,
            finished_at=...,
            attempt=1,
            claim=1,
        )

    return _rate(target, options, prepare=prepare)


def waiting(target: Target, options: Namespace) -> float:
    """Many more jobs behind those that are measured."""
    return _rate(target, options, behind=max(0, options.waiting - options.jobs))


def foreign(target: Target, options: Namespace) -> float:
    """Older jobs in the same queue, of a task that only another application knows."""

    def prepare(client: Client) -> None:
        insert_rows(client, options.foreign, "another application's", timedelta(hours=1))

    return _rate(target, options, prepare=prepare)


def snapshot(target: Target, options: Namespace) -> float:
    """A transaction that sees the beginning until the end."""
    return _rate(target, options, meanwhile=target.snapshot)


def _rate(target: Target, options: Namespace, behind: int = 0, **situation: Any) -> float:
    drained = drain(
        target,
        no_ops(options.jobs + behind),
        jobs=options.jobs,
        processes=options.processes,
        threads=options.threads,
        **situation,
    )
    return drained.rate


SITUATIONS: dict[str, Drain] = {
    "finished": finished,
    "waiting": waiting,
    "foreign": foreign,
    "snapshot": snapshot,
}


def add_options(parser: ArgumentParser) -> None:
    """Sizes of this benchmark."""
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs to drain each time")
    parser.add_argument("--finished", type=int, default=1_000_000, help="finished jobs")
    parser.add_argument("--waiting", type=int, default=500_000, help="waiting jobs")
    parser.add_argument("--foreign", type=int, default=200_000, help="jobs of an unknown task")
    parser.add_argument("--processes", type=int, default=1, help="server processes")
    parser.add_argument("--threads", type=int, default=10, help="worker threads in each of them")
    parser.add_argument("--rounds", type=int, default=3, help="the medians of so many are told")


def run(databases: Databases, options: Namespace) -> Result:
    """Drain in each situation, round after round."""
    rates: dict[str, list[float]] = {name: [] for name in ("empty", *SITUATIONS)}
    for _ in range(options.rounds):
        for name, situation in (("empty", empty), *SITUATIONS.items()):
            with databases.fresh() as target:
                rates[name].append(situation(target, options))
    found = {name: median(values) for name, values in rates.items()}
    return Result(
        {
            "jobs": options.jobs,
            "empty_jobs_per_second": found["empty"],
            **{name: found[name] / found["empty"] for name in SITUATIONS},
            "jobs_per_second": found,
        }
    )
