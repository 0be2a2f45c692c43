"""What a system does in ``compare``."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import psycopg

from tests.waiting import wait_for

from ..database import PostgresTarget
from ..latency import Send, latencies
from ..runs import VARIABLE, RunLog
from ..worker import Usage, Worker
from .gate import Gate

DSN = "BENCHMARK_DSN"
"""Environment variable with the database's address, for the worker processes."""

LONGEST = 1800.0
"""Seconds that a drain may take."""


class Contender(ABC):
    """One system, or one way of using it."""

    name: str
    share: float = 1.0
    """The part of the jobs that it gets: a slow one is measured long enough with fewer."""

    @abstractmethod
    def drain(self, target: PostgresTarget, jobs: int, processes: int) -> float:
        """Jobs per second, from the first start to when the last end is seen committed."""


class System(Contender):
    """A contender that runs functions, so that one can see when they begin."""

    @abstractmethod
    def latency(self, target: PostgresTarget, samples: int) -> list[float]:
        """Milliseconds from enqueuing a job to its function's first line, on an idle worker."""


class Gated(Contender):
    """A contender whose worker processes wait at the gate.

    ``python -m module argument…`` is one of them.
    """

    module: str
    arguments: tuple[str, ...] = ()
    done: str
    """A query for whether nothing is left to do, cheap while there is."""
    tally: str
    """A query for how many jobs have ended, and the seconds since the first was begun."""

    @abstractmethod
    def install(self, target: PostgresTarget) -> None:
        """Make the tables."""

    @abstractmethod
    def fill(self, target: PostgresTarget, jobs: int) -> None:
        """Enqueue so many jobs that do nothing."""

    def drain(self, target: PostgresTarget, jobs: int, processes: int) -> float:
        self.install(target)
        self.fill(target, jobs)
        target.complete()
        with (
            Gate(target.dsn) as gate,
            self.workers(target, processes) as workers,
            psycopg.connect(target.dsn, autocommit=True) as connection,
        ):
            gate.open(processes)

            def done() -> bool:
                Usage.of(workers)
                row = connection.execute(self.done.encode()).fetchone()
                return row is not None and bool(row[0])

            wait_for(done, LONGEST, f"the end of {jobs} jobs of {self.name}", interval=0.02)
            row = connection.execute(self.tally.encode()).fetchone()
        assert row is not None
        count, seconds = row
        assert count == jobs, f"{self.name} ran {count} of {jobs} jobs"
        return jobs / float(seconds)

    @contextmanager
    def workers(
        self, target: PostgresTarget, processes: int, runs: Path | None = None
    ) -> Iterator[list[Worker]]:
        """Processes on the way to the gate; they end with the block."""
        env = {DSN: target.dsn, VARIABLE: None if runs is None else str(runs)}
        command = [sys.executable, "-m", self.module, *self.arguments]
        with ExitStack() as stack:
            yield [
                stack.enter_context(Worker(command, folder=target.folder, env=env))
                for _ in range(processes)
            ]


class Peer(Gated, System):
    """A job system of somebody else's."""

    @abstractmethod
    def sender(self, target: PostgresTarget) -> AbstractContextManager[Send]:
        """Enqueues jobs that note their latency."""

    def latency(self, target: PostgresTarget, samples: int) -> list[float]:
        self.install(target)
        runs = RunLog(target.folder / "runs")
        with (
            Gate(target.dsn) as gate,
            self.workers(target, 1, runs.path),
            self.sender(target) as send,
        ):
            gate.open(1)
            return latencies(send, runs, samples=samples, rate=None)
