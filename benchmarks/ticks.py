"""How punctual recurring jobs are.

Many schedules are due each second. Each run notes its tick's due time and the host's clock at its
first line; the difference is how late it is (so the database must run on this machine, or clocks
must agree). A tick of which no run came is missed, one that ran twice is doubled.
"""

from __future__ import annotations

import contextlib
import math
import time
from argparse import ArgumentParser, Namespace
from collections import Counter

from tests.waiting import wait_for

from .application import scheduler, tick
from .client import client_of
from .database import Databases
from .percentile import percentile
from .result import Result
from .runs import RunLog
from .servers import servers_of

SETTLING = 2
"""Seconds before the first tick that counts: those that fell due before are caught up with."""

PATIENCE = 10.0
"""Seconds after the last tick's due time until one that did not come counts as missed."""


def add_options(parser: ArgumentParser) -> None:
    """Sizes of this benchmark."""
    parser.add_argument("--schedules", type=int, default=1_000, help="due each second")
    parser.add_argument("--seconds", type=int, default=60, help="seconds of ticks to look at")
    parser.add_argument("--processes", type=int, default=1, help="server processes")
    parser.add_argument("--threads", type=int, default=10, help="worker threads in each of them")


def run(databases: Databases, options: Namespace) -> Result:
    """Let schedules tick for a while, and look at each tick."""
    with databases.fresh() as target, client_of(target.url) as client:
        runs = RunLog(target.folder / "runs")
        for number in range(options.schedules):
            scheduler.add_or_update(f"tick-{number}", tick, "* * * * * *")
        with servers_of(
            target,
            client,
            processes=options.processes,
            threads=options.threads,
            runs=runs.path,
        ):
            first = math.ceil(time.time()) + SETTLING
            end = first + options.seconds
            expected = options.schedules * options.seconds
            time.sleep(end - time.time())
            with contextlib.suppress(AssertionError):  # what never comes has been missed
                wait_for(lambda: _counted(runs, first, end) >= expected, PATIENCE, interval=0.2)
        seen = [line for line in runs.lines() if first <= float(line[1]) < end]
    ran = Counter((line[0], line[1]) for line in seen)
    late = [1e3 * (float(line[2]) - float(line[1])) for line in seen]
    return Result(
        {
            "schedules": options.schedules,
            "seconds": options.seconds,
            "expected": expected,
            "missed": expected - len(ran),
            "doubled": sum(ran.values()) - len(ran),
            "p50_ms": percentile(late, 0.5),
            "p99_ms": percentile(late, 0.99),
            "max_ms": max(late),
        }
    )


def _counted(runs: RunLog, first: int, end: int) -> int:
    return len({(line[0], line[1]) for line in runs.lines() if first <= float(line[1]) < end})
