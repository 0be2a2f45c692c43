"""``python -m benchmarks NAME [options] [--json]``."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from . import compare, console, drain, enqueue, idle, latency, machine, scale, ticks
from .database import Databases, PostgresServer, SqliteFolder

BENCHMARKS = {
    module.__name__.rpartition(".")[2]: module
    for module in (drain, enqueue, latency, ticks, scale, console, idle, compare)
}


def parser() -> ArgumentParser:
    """The command line."""
    root = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = root.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, module in BENCHMARKS.items():
        about = module.__doc__ or ""
        one = names.add_parser(
            name,
            help=about.strip().splitlines()[0],
            description=about,
            formatter_class=RawDescriptionHelpFormatter,
        )
        place = one.add_mutually_exclusive_group()
        place.add_argument(
            "--database-url",
            metavar="URL",
            help="a PostgreSQL server that runs; its user must be allowed to make databases",
        )
        place.add_argument("--sqlite", action="store_true", help="measure on SQLite")
        one.add_argument("--json", action="store_true", help="last line: the figures as JSON")
        module.add_options(one)
    return root


@contextmanager
def databases_for(url: str | None, sqlite: bool) -> Iterator[Databases]:
    """Where to measure: SQLite, a given PostgreSQL server, or one of our own."""
    if sqlite:
        yield SqliteFolder()
    elif url is not None:
        yield PostgresServer.given(url)
    else:
        with PostgresServer.own() as server:
            yield server


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark and print what it found."""
    options = parser().parse_args(arguments)
    # Ends what was started here too: unwound like any exit.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with databases_for(options.database_url, options.sqlite) as databases:
        print(f"{options.name} on {databases.description}")
        print(machine.describe())
        print(f"load average before: {machine.load()}", flush=True)
        result = BENCHMARKS[options.name].run(databases, options)
        print(f"load average after:  {machine.load()}")
    print(result.table())
    if options.json:
        print(result.json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
