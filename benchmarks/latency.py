"""How long it takes from the call of ``enqueue`` to the first line of the function.

This process enqueues, a server in another one runs the job. Both read the clock that the machine's
processes share. Without ``--rate`` the server is idle each time: the pauses between two jobs, of 10
to 50 ms, differ at random. With it jobs are enqueued at even distances.
"""

from __future__ import annotations

import random
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from tests.waiting import wait_for

from .application import note
from .client import client_of
from .database import Databases, Target
from .percentile import percentile
from .result import Result
from .runs import RunLog
from .servers import servers_of

WARM_UP = 30
"""Jobs that are not measured."""

PAUSES = (0.01, 0.05)
"""Seconds between two jobs, at least and at most, when there is no rate."""

Send = Callable[[int], object]
"""Enqueues a job that notes how many nanoseconds have passed since the given moment."""


def latencies(send: Send, runs: RunLog, *, samples: int, rate: float | None) -> list[float]:
    """Enqueue ``samples`` jobs; returns the milliseconds that each took to begin.

    :param rate: jobs per second; None for an idle server.
    """
    _send(send, WARM_UP, rate)
    _wait(runs, WARM_UP)
    runs.clear()
    _send(send, samples, rate)
    _wait(runs, samples)
    return [int(line[0]) / 1e6 for line in runs.lines()]


def _send(send: Send, count: int, rate: float | None) -> None:
    rng = random.Random(1)
    at = time.monotonic()
    for _ in range(count):
        at += rng.uniform(*PAUSES) if rate is None else 1 / rate
        if (pause := at - time.monotonic()) > 0:
            time.sleep(pause)
        elif rate is None:
            at = time.monotonic()
        send(time.monotonic_ns())


def _wait(runs: RunLog, count: int) -> None:
    wait_for(
        lambda: runs.count() >= count, 60.0, lambda: f"{count} runs, of which {runs.count()} came,"
    )


def measure(target: Target, *, samples: int, rate: float | None, threads: int) -> list[float]:
    """Milliseconds that each of ``samples`` jobs took to begin, with one server process."""
    runs = RunLog(target.folder / "runs")
    with (
        client_of(target.url) as client,
        servers_of(target, client, processes=1, threads=threads, runs=runs.path),
    ):
        return latencies(note.enqueue, runs, samples=samples, rate=rate)


def add_options(parser: ArgumentParser) -> None:
    """Sizes of this benchmark."""
    parser.add_argument("--samples", type=int, default=1_000, help="jobs to enqueue")
    parser.add_argument("--rate", type=float, help="jobs per second; else the server is idle")
    parser.add_argument("--threads", type=int, default=10, help="worker threads of the server")


def run(databases: Databases, options: Namespace) -> Result:
    """Measure the latency of one server."""
    with databases.fresh() as target:
        times = measure(target, samples=options.samples, rate=options.rate, threads=options.threads)
    return Result(
        {
            "samples": len(times),
            "rate": options.rate,
            "p50_ms": percentile(times, 0.5),
            "p95_ms": percentile(times, 0.95),
            "p99_ms": percentile(times, 0.99),
            "max_ms": max(times),
        }
    )
