"""This project beside others, and beside what the database alone can do.

The same drain and the same latency, in the same run, in turns, on fresh databases of the same
server: for Flask-Recurring, PgQueuer (plain functions in threads, and coroutines) and
Procrastinate; the drain also for the floor, which is the claim and completion statements alone.
Each figure is the median over the rounds. Needs the ``benchmarks`` extra.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING

from .database import Databases, PostgresTarget
from .percentile import percentile
from .result import Result

if TYPE_CHECKING:
    from .contenders.contender import Contender


def contenders() -> Sequence[Contender]:
    """All that run against each other. Imported only here: the others come with the extra."""
    from .contenders.flask_recurring import FlaskRecurring
    from .contenders.floor import Floor

    try:
        from .contenders.pgqueuer import PgQueuerContender
        from .contenders.procrastinate import ProcrastinateContender
    except ImportError as error:
        raise SystemExit(
            f"compare needs others to compare with ({error}): "
            "pip install 'flask-recurring[benchmarks]'"
        ) from error
    return (
        FlaskRecurring(),
        PgQueuerContender("threads", share=0.3),
        PgQueuerContender("coroutines", share=0.5),
        ProcrastinateContender(share=0.03),
        Floor(),
    )


def add_options(parser: ArgumentParser) -> None:
    """Sizes of this benchmark."""
    parser.add_argument(
        "--jobs", type=int, default=100_000, help="jobs to drain; slow systems get a part of them"
    )
    parser.add_argument("--samples", type=int, default=300, help="jobs whose latency is measured")
    parser.add_argument("--rounds", type=int, default=3, help="the medians of so many are told")


def run(databases: Databases, options: Namespace) -> Result:
    """Let each contender run in each discipline, round after round."""
    from .contenders.contender import System

    all_of_them = contenders()
    systems = [one for one in all_of_them if isinstance(one, System)]

    def drained(processes: int) -> Callable[[Contender, PostgresTarget], float]:
        return lambda one, target: one.drain(
            target, max(10, round(options.jobs * one.share)), processes
        )

    def latency(one: Contender, target: PostgresTarget) -> float:
        assert isinstance(one, System)
        return percentile(one.latency(target, options.samples), 0.5)

    disciplines = [
        ("drain", all_of_them, drained(1)),
        ("latency_p50_ms", systems, latency),
        ("drain_2_processes", all_of_them, drained(2)),
    ]
    found: dict[str, dict[str, list[float]]] = {
        name: {one.name: [] for one in those} for name, those, _ in disciplines
    }
    for _ in range(options.rounds):
        for name, those, measure in disciplines:
            for one in those:
                with databases.fresh() as target:
                    if not isinstance(target, PostgresTarget):
                        raise SystemExit("compare: the others run on PostgreSQL only")
                    value = measure(one, target)
                found[name][one.name].append(value)
                print(f"  {name} · {one.name}: {value:,.1f}", flush=True)
    return Result(
        {
            name: {one: median(values) for one, values in rates.items()}
            for name, rates in found.items()
        }
    )
