"""This project, as ``drain`` and ``latency`` measure it."""

from __future__ import annotations

from .. import drain, latency
from ..database import PostgresTarget
from .contender import System

THREADS = 10


class FlaskRecurring(System):
    """A plain function, in a Flask application and a fresh application context for each run."""

    name = "flask_recurring"

    def drain(self, target: PostgresTarget, jobs: int, processes: int) -> float:
        return drain.drain(
            target, drain.no_ops(jobs), jobs=jobs, processes=processes, threads=THREADS
        ).rate

    def latency(self, target: PostgresTarget, samples: int) -> list[float]:
        return latency.measure(target, samples=samples, rate=None, threads=THREADS)
