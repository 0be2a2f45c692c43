"""Server processes of the measured application: what ``flask recurring worker`` starts."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.waiting import wait_for

from .client import Client
from .database import Target
from .runs import VARIABLE
from .worker import Usage, Worker

COMMAND = [sys.executable, "-m", "flask", "--app", "benchmarks.application", "recurring", "worker"]


class Servers:
    """Processes that are up and take jobs."""

    def __init__(self, workers: list[Worker]) -> None:
        self._workers = workers

    def usage(self) -> Usage:
        """What they use. Raises ``AssertionError`` if one of them has ended."""
        return Usage.of(self._workers)

    def stop(self) -> None:
        """Stop them in order, all at the same time."""
        for worker in self._workers:
            worker.send(signal.SIGTERM)
        for worker in self._workers:
            worker.wait(30.0)


@contextmanager
def servers_of(
    target: Target, client: Client, *, processes: int, threads: int, runs: Path | None = None
) -> Iterator[Servers]:
    """Start servers and wait until all are ready; they end with the block.

    :param runs: where their jobs note what they see.
    """
    env = {
        "FLASK_RECURRING_DATABASE_URL": target.url,
        "FLASK_RECURRING_WORKERS": str(threads),
        VARIABLE: None if runs is None else str(runs),
    }
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(COMMAND, folder=target.folder, env=env))
            for _ in range(processes)
        ]

        def all_live() -> bool:
            Usage.of(workers)
            return len(client.store.servers.live()) == processes

        wait_for(all_live, 60.0, f"{processes} servers")
        yield Servers(workers)
