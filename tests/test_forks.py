"""What a forked child has of its parent's connections, locks and threads: nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from flask_recurring import JobState
from tests.applications import Applications, job_of, store_of, wait_for_job
from tests.apps import served
from tests.apps.bound import BOUND
from tests.processes import Spawn, free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[1]


def test_every_process_has_connections_and_locks_of_its_own(database_url: str) -> None:
    result = subprocess.run(
        # Newer Pythons warn of each fork in a process with threads, which is what is tested here.
        [sys.executable, "-W", "ignore:This process", "-m", "tests.apps.forking", database_url],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )

    told = [line for line in result.stderr.splitlines() if " runs the jobs of " not in line]
    assert told == []
    scenarios = ["preloaded", "shared", "view", "borrowed", "locked"]
    if database_url.startswith("postgresql"):
        scenarios.append("job")
    assert result.stdout.splitlines() == [f"{scenario}: 0 failed" for scenario in scenarios]
    assert result.returncode == 0


def test_preloaded_workers_without_a_server_share_no_connection(
    postgres_url: str, spawn: Spawn
) -> None:
    port = free_port()
    app = f"tests.apps.forking:create_app({postgres_url!r})"
    process = spawn(
        [
            *(*BOUND, sys.executable, "-m", "gunicorn", app, "--preload", "--workers", "3"),
            *("--bind", f"127.0.0.1:{port}", "--no-control-socket"),
        ],
        env={"PYTHONPATH": str(ROOT)},
    )
    process.wait_for_port(port)
    seen: set[tuple[int, int]] = set()

    def all_seen() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/connection", timeout=10) as answer:
            seen.add(tuple(json.load(answer)))
        return len({worker for worker, _ in seen}) == 3

    wait_for(all_seen)

    assert len({backend for _, backend in seen}) == 3
    assert process.stop() == 0


def test_server_that_was_killed_is_dead_although_a_child_of_it_lives(
    apps: Applications, database_url: str, spawn: Spawn
) -> None:
    app = apps.make(served.scheduler, database_url)
    command = (sys.executable, "-m", "flask", "--app", "tests.apps.served", "recurring", "worker")
    settings = {
        "PYTHONPATH": str(ROOT),
        "FLASK_RECURRING_DATABASE_URL": database_url,
        "FLASK_RECURRING_HEARTBEAT_INTERVAL": "0.5",
        "FLASK_RECURRING_WORKER_ENABLED": "false",
    }
    workers = {
        process.pid: process for process in (spawn([*BOUND, *command], env=settings) for _ in "12")
    }
    servers = store_of(app).servers
    wait_for(lambda: {server.pid for server in servers.live()} == set(workers), timeout=30)
    with app.app_context():
        job = wait_for_job(app, served.parent.enqueue(), JobState.PROCESSING)
    (holder,) = (server for server in servers.live() if server.name == job.server)

    workers[holder.pid].kill()

    wait_for(lambda: job_of(app, job).server not in (None, holder.name), timeout=12)
    assert {server.pid for server in servers.live()} == set(workers) - {holder.pid}


def test_child_that_a_job_forked_leaves_where_the_job_ends(database_url: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.apps.forked", database_url],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )

    written = result.stdout.splitlines()
    assert [json.loads(line) for line in written if line.startswith("[")] == [
        ["returns", "Succeeded", 0, 1, 0],
        ["raises", "Succeeded", 1, 1, 0],
        ["exits", 7, "Succeeded", 7, 1, 0],
        ["exits", None, "Succeeded", 0, 1, 0],
        ["exits", "a reason", "Succeeded", 1, 1, 0],
        ["awaits", "Succeeded", 0, 1, 0],
        ["writes", "Succeeded", 0, 1, 0],
        ["multiplies", "Succeeded", [49, 0], 1, 0],
        ["returns", "Succeeded", 0, 1, 0],
    ]
    assert "tears" not in result.stdout
    assert "the child has written" in result.stdout
    assert "ValueError: of the child" in result.stderr
    assert "a reason" in result.stderr
    assert result.returncode == 0
