"""What console output costs: the time of a drain whose jobs write lines, to that of none."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from statistics import median

from .application import write
from .database import Databases
from .drain import drain
from .result import Result


def add_options(parser: ArgumentParser) -> None:
    """Sizes of this benchmark."""
    parser.add_argument("--jobs", type=int, default=50_000, help="jobs to drain each time")
    parser.add_argument("--lines", type=int, default=10, help="lines that each job writes")
    parser.add_argument("--processes", type=int, default=1, help="server processes")
    parser.add_argument("--threads", type=int, default=10, help="worker threads in each of them")
    parser.add_argument("--rounds", type=int, default=3, help="the medians of so many are told")


def run(databases: Databases, options: Namespace) -> Result:
    """Drain with and without lines, in turns."""
    seconds: dict[int, list[float]] = {0: [], options.lines: []}
    for _ in range(options.rounds):
        for lines, found in seconds.items():
            with databases.fresh() as target:
                drained = drain(
                    target,
                    (write.call(lines) for _ in range(options.jobs)),
                    jobs=options.jobs,
                    processes=options.processes,
                    threads=options.threads,
                )
                found.append(drained.seconds)
    none, some = median(seconds[0]), median(seconds[options.lines])
    return Result(
        {
            "jobs": options.jobs,
            "lines": options.lines,
            "seconds_without": none,
            "seconds_with": some,
            "ratio": some / none,
            "lines_per_second": options.jobs * options.lines / some,
        }
    )
