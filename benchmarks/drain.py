"""How many jobs a second are run when many are waiting.

A plain function in a Flask application, each run in a fresh application context. The jobs are
enqueued into a paused queue and the tables vacuumed; then the server processes start, and wait.
Once all of them are up the queue is resumed, so neither imports nor connecting are measured.

The time is from the first run's start to the moment when the last end is seen committed, both by
the database's clock; it is looked for every 20 ms. (A job's ``finished_at`` would be too early: it
is when the function returned, and says nothing of how long it took to write that.) Statements,
commits and processor time are those of all that happens meanwhile, beats included.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from flask_recurring.task import Call
from tests.waiting import wait_for

from .activity import Activity
from .application import nothing
from .client import Client, client_of
from .database import Databases, Target
from .result import Result
from .servers import servers_of
from .worker import Usage

LONGEST = 1800.0
"""Seconds that a drain may take."""


@dataclass(frozen=True, slots=True)
class Drained:
    """One drain."""

    jobs: int
    """How many had ended at its end."""
    seconds: float
    activity: Activity
    cpu_seconds: float
    """Of the server processes."""
    rss_bytes: int
    """Of the largest of them."""

    @property
    def rate(self) -> float:
        """Jobs per second."""
        return self.jobs / self.seconds

    def figures(self) -> dict[str, float | int | None]:
        """What the benchmark tells of it."""
        return {
            "jobs_per_second": self.rate,
            "seconds": self.seconds,
            "statements_per_job": self._per_job(self.activity.statements),
            "commits_per_job": self._per_job(self.activity.commits),
            "cpu_us_per_job": 1e6 * self.cpu_seconds / self.jobs,
            "database_cpu_us_per_job": self._per_job(self.activity.cpu_seconds, 1e6),
            "rss_mb": self.rss_bytes / 1e6,
        }

    def _per_job(self, total: float | None, scale: float = 1.0) -> float | None:
        return None if total is None else scale * total / self.jobs


def no_ops(count: int) -> Iterable[Call]:
    """Calls of the function that does nothing, each with an argument of its own."""
    return (nothing.call(number) for number in range(count))


def drain(
    target: Target,
    calls: Iterable[Call],
    *,
    jobs: int,
    processes: int = 1,
    threads: int = 10,
    prepare: Callable[[Client], None] = lambda client: None,
    meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Drained:
    """Let servers work off the calls on an empty database.

    :param jobs: measure until so many of them have ended.
    :param prepare: what else to put into the database before the calls.
    :param meanwhile: gives a context that is open while the servers work.
    """
    with client_of(target.url) as client:
        client.hold()
        prepare(client)
        ids = client.fill(calls)
        target.complete()
        with (
            meanwhile(),
            servers_of(target, client, processes=processes, threads=threads) as servers,
        ):
            before, used = target.activity(), servers.usage()
            client.release()
            ended, moment = _wait_for_end(client, ids, jobs, servers.usage)
            usage = servers.usage()
            if len(ids) > ended:
                client.hold()
            servers.stop()
        return Drained(
            jobs=ended,
            seconds=(moment - client.began(ids)).total_seconds(),
            # Taken now: a connection tells of its last commits when it closes.
            activity=target.activity().since(before),
            cpu_seconds=usage.cpu_seconds - used.cpu_seconds,
            rss_bytes=usage.rss_bytes,
        )


def _wait_for_end(
    client: Client, ids: range, jobs: int, usage: Callable[[], Usage]
) -> tuple[int, datetime]:
    """Wait until the first ``jobs`` of them have ended; returns how many had by then, and when."""
    # The last one is cheap to ask for again and again; the others are gone through once it is done.
    unseen = ids[jobs - 1 : jobs]
    rest = ids[:jobs]

    def all_ended() -> bool:
        nonlocal unseen, rest
        usage()
        if unseen and client.first_open(unseen) is None:
            unseen = range(0)
        if not unseen:
            first = client.first_open(rest)
            rest = range(first, rest.stop) if first is not None else range(0)
        return not rest

    wait_for(all_ended, LONGEST, f"the end of {jobs} jobs", interval=0.02)
    return client.ended(ids)


def add_options(parser: ArgumentParser) -> None:
    """Sizes of this benchmark."""
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs that wait")
    parser.add_argument("--processes", type=int, default=1, help="server processes")
    parser.add_argument("--threads", type=int, default=10, help="worker threads in each of them")
    parser.add_argument("--rounds", type=int, default=1, help="drains; the median one is told")


def run(databases: Databases, options: Namespace) -> Result:
    """Drain some times, and tell of the one in the middle."""
    found = []
    for _ in range(options.rounds):
        with databases.fresh() as target:
            found.append(
                drain(
                    target,
                    no_ops(options.jobs),
                    jobs=options.jobs,
                    processes=options.processes,
                    threads=options.threads,
                )
            )
    middle = median(drained.rate for drained in found)
    chosen = min(found, key=lambda drained: abs(drained.rate - middle))
    return Result(
        {
            "jobs": options.jobs,
            "processes": options.processes,
            "threads": options.threads,
            **chosen.figures(),
        }
    )
