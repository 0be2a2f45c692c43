"""What a server uses that has nothing to do."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace

from .client import client_of
from .database import Databases
from .result import Result
from .servers import servers_of


def add_options(parser: ArgumentParser) -> None:
    """Sizes of this benchmark."""
    parser.add_argument("--settle", type=float, default=5.0, help="seconds before it is looked at")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds to look at it")
    parser.add_argument("--threads", type=int, default=10, help="worker threads of the server")


def run(databases: Databases, options: Namespace) -> Result:
    """Start one server and leave it alone."""
    with databases.fresh() as target, client_of(target.url) as client:
        with servers_of(target, client, processes=1, threads=options.threads) as servers:
            # This process's own connections would be counted too.
            client.store.database.engine.dispose()
            time.sleep(options.settle)
            began, before, used = time.monotonic(), target.activity(), servers.usage()
            time.sleep(options.seconds)
            activity, usage = target.activity().since(before), servers.usage()
            seconds = time.monotonic() - began
        statements = activity.statements
        return Result(
            {
                "seconds": seconds,
                "threads": options.threads,
                "statements_per_second": None if statements is None else statements / seconds,
                "cpu_percent": 100 * (usage.cpu_seconds - used.cpu_seconds) / seconds,
                "rss_mb": usage.rss_bytes / 1e6,
            }
        )
