"""What runs note of themselves, in files that outlive every process and every database."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask_recurring import JobContext

VARIABLE = "CHAOS_RECORDS"
"""Names, in a server's environment, the folder that takes its records."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job. Times are seconds of the clock that all processes of the machine share."""

    job: int
    task: str
    queue: str
    attempt: int
    due: float | None
    """Of a tick's job, when it was due, in seconds since 1970."""
    pid: int
    begun: float
    ended: float | None = None
    """None if it never came to its end."""
    error: str | None = None
    """The type of the exception that ended it."""

    @property
    def succeeded(self) -> bool:
        return self.ended is not None and self.error is None


class Recorder:
    """Writes the records of this process: each in one call of the system, so that none is torn."""

    def __init__(self, folder: Path) -> None:
        file = folder / f"{os.getpid()}.runs"
        self._descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._numbers = itertools.count()

    @contextmanager
    def run(self, context: JobContext) -> Iterator[None]:
        """Note the begin and the end of the block as a run's."""
        number = next(self._numbers)
        due = None if context.due is None else context.due.timestamp()
        self._note(
            number,
            job=context.job_id,
            task=context.task,
            queue=context.queue,
            attempt=context.attempt,
            due=due,
            pid=os.getpid(),
            begun=time.monotonic(),
        )
        error = None
        try:
            yield
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            self._note(number, ended=time.monotonic(), error=error)

    def _note(self, number: int, **values: Any) -> None:
        os.write(self._descriptor, json.dumps([number, values]).encode() + b"\n")


_making = threading.Lock()
_recorder: Recorder | None = None


def recorder() -> Recorder:
    """The recorder of this process."""
    global _recorder
    with _making:
        if _recorder is None:
            _recorder = Recorder(Path(os.environ[VARIABLE]))
        return _recorder


def read_runs(folder: Path) -> list[Run]:
    """All runs that were noted so far, in the order of their begins."""
    runs: list[Run] = []
    for file in folder.glob("*.runs"):
        notes: dict[int, dict[str, Any]] = {}
        for line in file.read_bytes().splitlines():
            number, values = json.loads(line)
            notes.setdefault(number, {}).update(values)
        runs += [Run(**values) for values in notes.values()]
    return sorted(runs, key=lambda run: run.begun)
