"""The benchmarks run, and tell what they are to tell. How fast anything is, is not tested here."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.activity import Activity
from benchmarks.contenders.floor import Floor
from benchmarks.database import PostgresServer, PostgresTarget
from benchmarks.percentile import percentile
from benchmarks.result import Result
from benchmarks.runs import RunLog
from tests.postgres import Server

ROOT = Path(__file__).resolve().parent.parent

DRAIN = {
    "jobs",
    "processes",
    "threads",
    "jobs_per_second",
    "seconds",
    "statements_per_job",
    "commits_per_job",
    "cpu_us_per_job",
    "database_cpu_us_per_job",
    "rss_mb",
}
SITUATIONS = {"finished", "waiting", "foreign", "snapshot"}
SYSTEMS = {"flask_recurring", "pgqueuer_threads", "pgqueuer_coroutines", "procrastinate"}

SCALE = "--jobs 200 --finished 300 --waiting 300 --foreign 300 --rounds 1"


def figures(name: str, *options: str) -> dict[str, Any]:
    """Run a benchmark as one does, and read the last line of what it prints."""
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", name, "--json", *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, f"{name} failed:\n{result.stdout}{result.stderr}"
    *table, last = result.stdout.splitlines()
    found: dict[str, Any] = json.loads(last)
    assert len(table) > len(found), "there is a line for each figure before the last one"
    return found


def test_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(100, 0, -1)]

    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1) == 100
    assert percentile([7.0], 0.01) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_activity_in_between_leaves_out_what_is_not_counted() -> None:
    earlier = Activity(statements=None, commits=10, cpu_seconds=1.5)

    between = Activity(statements=7, commits=30, cpu_seconds=4.0).since(earlier)

    assert between == Activity(statements=None, commits=20, cpu_seconds=2.5)


def test_result_is_a_table_and_one_line_of_json() -> None:
    result = Result({"jobs": 1234, "rates": {"one": 12345.678, "two": None}})

    assert json.loads(result.json()) == {"jobs": 1234, "rates": {"one": 12345.7, "two": None}}
    assert [line.split() for line in result.table().splitlines()] == [
        ["jobs", "1,234"],
        ["rates", "·", "one", "12,345.7"],
        ["rates", "·", "two", "–"],
    ]


def test_run_log_keeps_lines_of_several_writers(tmp_path: Path) -> None:
    first, second = RunLog(tmp_path / "runs"), RunLog(tmp_path / "runs")

    first.note("a", 1)
    second.note("b", 2.5)

    assert first.lines() == [["a", "1"], ["b", "2.5"]]
    first.clear()
    second.note("c")
    assert first.lines() == [["c"]]
    assert first.count() == 1


@pytest.mark.processes
def test_drain_on_a_postgresql_of_its_own(postgres: Server) -> None:
    # The fixture only tells whether there are programs to start one.
    found = figures("drain", "--jobs", "500", "--processes", "2", "--threads", "3")

    assert set(found) == DRAIN
    assert (found["jobs"], found["processes"], found["threads"]) == (500, 2, 3)
    assert all(found[name] > 0 for name in DRAIN - {"statements_per_job"})
    assert found["commits_per_job"] < 1


@pytest.mark.processes
def test_drain_on_sqlite() -> None:
    found = figures("drain", "--sqlite", "--jobs", "300", "--rounds", "1")

    assert set(found) == DRAIN
    assert found["jobs_per_second"] > 0
    assert found["statements_per_job"] is None


@pytest.mark.processes
@pytest.mark.parametrize("sqlite", [False, True], ids=["postgresql", "sqlite"])
def test_enqueue(sqlite: bool, request: pytest.FixtureRequest) -> None:
    found = figures("enqueue", *place(sqlite, request), *["--jobs", "100", "--bulk", "200"])

    assert set(found) == {
        "jobs",
        "single_per_second",
        "bare_insert_per_second",
        "single_to_bare",
        "bulk_jobs",
        "bulk_per_second",
    }
    assert all(value > 0 for value in found.values())


@pytest.mark.processes
@pytest.mark.parametrize("rate", [None, 200.0])
def test_latency(rate: float | None, postgres: Server) -> None:
    options = [] if rate is None else ["--rate", str(rate)]
    found = figures("latency", "--database-url", postgres.url(), "--samples", "20", *options)

    assert set(found) == {"samples", "rate", "p50_ms", "p95_ms", "p99_ms", "max_ms"}
    assert (found["samples"], found["rate"]) == (20, rate)
    assert 0 < found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"] <= found["max_ms"]


@pytest.mark.processes
def test_ticks(postgres: Server) -> None:
    options = ["--schedules", "3", "--seconds", "2", "--processes", "2"]
    found = figures("ticks", "--database-url", postgres.url(), *options)

    assert set(found) == {
        "schedules",
        "seconds",
        "expected",
        "missed",
        "doubled",
        "p50_ms",
        "p99_ms",
        "max_ms",
    }
    assert (found["expected"], found["missed"], found["doubled"]) == (6, 0, 0)
    assert 0 < found["p50_ms"] <= found["p99_ms"]


@pytest.mark.processes
@pytest.mark.parametrize("sqlite", [False, True], ids=["postgresql", "sqlite"])
def test_scale(sqlite: bool, request: pytest.FixtureRequest) -> None:
    found = figures("scale", *place(sqlite, request), *SCALE.split())

    assert set(found) == {"jobs", "empty_jobs_per_second", "jobs_per_second", *SITUATIONS}
    assert set(found["jobs_per_second"]) == {"empty", *SITUATIONS}
    assert all(found[name] > 0 for name in SITUATIONS)


@pytest.mark.processes
def test_console(postgres: Server) -> None:
    options = ["--jobs", "100", "--lines", "3", "--rounds", "1"]
    found = figures("console", "--database-url", postgres.url(), *options)

    assert set(found) == {
        "jobs",
        "lines",
        "seconds_without",
        "seconds_with",
        "ratio",
        "lines_per_second",
    }
    assert (found["jobs"], found["lines"]) == (100, 3)
    assert found["ratio"] > 0


@pytest.mark.processes
def test_idle(postgres: Server) -> None:
    options = ["--settle", "0.1", "--seconds", "1"]
    found = figures("idle", "--database-url", postgres.url(), *options)

    assert set(found) == {"seconds", "threads", "statements_per_second", "cpu_percent", "rss_mb"}
    assert found["rss_mb"] > 0


@pytest.mark.processes
def test_floor_completes_every_job(postgres: Server) -> None:
    databases = PostgresServer.given(postgres.url())
    with databases.fresh() as target:
        assert isinstance(target, PostgresTarget)
        assert Floor().drain(target, jobs=600, processes=2) > 0


@pytest.mark.processes
@pytest.mark.skipif(
    find_spec("pgqueuer") is None or find_spec("procrastinate") is None,
    reason="the others come with flask-recurring[benchmarks]",
)
def test_compare(postgres: Server) -> None:
    options = ["--jobs", "300", "--samples", "5", "--rounds", "1"]
    found = figures("compare", "--database-url", postgres.url(), *options)

    assert set(found) == {"drain", "latency_p50_ms", "drain_2_processes"}
    assert set(found["drain"]) == set(found["drain_2_processes"]) == {*SYSTEMS, "floor"}
    assert set(found["latency_p50_ms"]) == SYSTEMS
    assert all(value > 0 for group in found.values() for value in group.values())


def place(sqlite: bool, request: pytest.FixtureRequest) -> list[str]:
    """The options that say where to measure."""
    if sqlite:
        return ["--sqlite"]
    postgres: Server = request.getfixturevalue("postgres")
    return ["--database-url", postgres.url()]
