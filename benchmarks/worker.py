"""A process that runs jobs, and what it uses of the machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from tests.processes import Process

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process or several."""

    cpu_seconds: float
    """Computed since they began, by the processes and the system for them."""
    rss_bytes: int
    """Memory in RAM now, of the largest."""

    @classmethod
    def of(cls, workers: Iterable[Worker]) -> Self:
        """All of them together."""
        each = [worker.usage() for worker in workers]
        return cls(sum(one.cpu_seconds for one in each), max(one.rss_bytes for one in each))


class Worker(Process):
    """One process, from its start to the end of the block it is used in.

    :param folder: takes what it prints.
    """

    def __init__(
        self, command: Sequence[str | Path], *, folder: Path, env: Mapping[str, str | None]
    ) -> None:
        super().__init__(command, log=folder / f"worker-{next(_numbers)}.log", env=env)
        self._process = psutil.Process(self.pid)

    def usage(self) -> Usage:
        """What it uses. Raises ``AssertionError`` with its output if it has ended."""
        self._check_alive("while it was measured")
        times = self._process.cpu_times()
        return Usage(times.user + times.system, self._process.memory_info().rss)
