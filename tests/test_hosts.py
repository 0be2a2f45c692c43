"""Several hosts on one database share its work, and take over what one of them leaves behind.

``RECURRING_TEST_TICKS`` says for how many seconds they are watched; 10 by default.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask

from flask_recurring import Job, JobState
from tests.applications import Applications, job_of, store_of, wait_for_job
from tests.apps import served
from tests.apps.bound import BOUND
from tests.postgres import Server
from tests.processes import Process, free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[1]
TICKS = int(os.environ.get("RECURRING_TEST_TICKS", "10"))

FLASK = (sys.executable, "-m", "flask", "--app", "tests.apps.served", "run", "--port", "{port}")
GUNICORN = (
    *(sys.executable, "-m", "gunicorn", "tests.apps.served:create_app()", "--workers", "1"),
    *("--bind", "127.0.0.1:{port}", "--no-control-socket"),
)


@dataclass
class Hosts:
    """Processes that serve one application on one database."""

    app: Flask
    """The same application in this process, without a server, to look through."""
    processes: dict[str, Process]

    def wait_until_all_are_up(self) -> None:
        wait_for(
            lambda: (
                {server.name for server in store_of(self.app).servers.live()} == set(self.processes)
            ),
            timeout=60,
            message=lambda: "\n".join(one.output() for one in self.processes.values()),
        )

    def ticks(self, since: datetime) -> list[Job]:
        """The jobs of all ticks from then on, in their order."""
        page = store_of(self.app).jobs.page(None, recurring_id="tick", limit=1000)
        found = [job for job in page.items if job.due is not None and job.due >= since]
        return sorted(found, key=lambda job: job.due or since)

    def pid_of(self, name: str | None) -> int:
        (server,) = (one for one in store_of(self.app).servers.live() if one.name == name)
        return server.pid


def start(
    stack: ExitStack, apps: Applications, folder: Path, url: str, hosts: dict[str, Sequence[str]]
) -> Hosts:
    processes = {}
    for name, command in hosts.items():
        port = free_port()
        processes[name] = stack.enter_context(
            Process(
                [*BOUND, *(part.format(port=port) for part in command)],
                log=folder / f"{name}.log",
                env={
                    "PYTHONPATH": str(ROOT),
                    "FLASK_RECURRING_DATABASE_URL": url,
                    "FLASK_RECURRING_SERVER_NAME": name,
                    "TICKING": "1",
                },
                cwd=ROOT,
            )
        )
    app = apps.make(served.scheduler, url, name=f"look at {'-'.join(hosts)}")
    return Hosts(app, processes)


@pytest.fixture(scope="module")
def hosts(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Hosts]]:
    """Two hosts with gunicorn and one with ``flask run`` on PostgreSQL; two on a SQLite file.

    They run at the same time, so that they are watched for the same seconds.
    """
    folder = tmp_path_factory.mktemp("hosts")
    url = postgres.create_database()
    with ExitStack() as stack, Applications(folder) as apps:
        yield {
            "postgresql": start(
                stack, apps, folder, url, {"north": GUNICORN, "south": GUNICORN, "west": FLASK}
            ),
            "sqlite": start(
                stack,
                apps,
                folder,
                f"sqlite:///{folder}/recurring.sqlite3",
                {"left": GUNICORN, "right": FLASK},
            ),
        }
    postgres.drop_database(url)


@pytest.fixture(scope="module")
def ticks(hosts: dict[str, Hosts]) -> dict[str, list[Job]]:
    """The ticks of so many seconds in which all hosts were up."""
    since = {}
    for name, some in hosts.items():
        some.wait_until_all_are_up()
        # The next whole second but one: the first may be under way.
        since[name] = store_of(some.app).now().replace(microsecond=0) + timedelta(seconds=2)
    found = {}
    for name, some in hosts.items():
        app, start = some.app, since[name]
        end = start + timedelta(seconds=TICKS)

        def is_over(app: Flask = app, end: datetime = end) -> bool:
            return store_of(app).now() > end + timedelta(seconds=0.5)

        wait_for(is_over, timeout=TICKS + 30, interval=0.1)
        jobs = [job for job in some.ticks(start) if job.due is not None and job.due < end]
        found[name] = [wait_for_job(app, job) for job in jobs]
    return found


@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_each_tick_comes_once_and_in_time(ticks: dict[str, list[Job]], database: str) -> None:
    jobs = ticks[database]

    dues = [job.due for job in jobs]
    assert len(dues) == len(set(dues)) == TICKS
    assert [due for due in dues if due is not None] == [
        jobs[0].due + timedelta(seconds=number) for number in range(TICKS) if jobs[0].due
    ]
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}
    assert {(job.attempt, job.claim) for job in jobs} == {(1, 1)}
    late = [job.started_at - job.due for job in jobs if job.started_at and job.due]
    assert sorted(late)[len(late) // 2] < timedelta(seconds=1)


@pytest.mark.parametrize(
    ("database", "least", "most"), [("postgresql", 0.15, 0.60), ("sqlite", 0.15, 0.85)]
)
def test_all_hosts_take_part(
    hosts: dict[str, Hosts],
    ticks: dict[str, list[Job]],
    database: str,
    least: float,
    most: float,
) -> None:
    shares = Counter(job.server for job in ticks[database])
    print(f"{database}: {dict(shares)} of {TICKS}")

    assert set(shares) == set(hosts[database].processes)
    assert least <= min(shares.values()) / TICKS, shares
    assert max(shares.values()) / TICKS <= most, shares


@dataclass
class Kill:
    """A host that was killed while it ran a job."""

    job: Job
    """The job as it ran there."""
    at: datetime


@pytest.fixture(scope="module")
def kills(hosts: dict[str, Hosts], ticks: dict[str, list[Job]]) -> dict[str, Kill]:
    """One host of each database is killed while it runs a job of some seconds."""
    found = {}
    for name, some in hosts.items():
        with some.app.app_context():
            job = served.scheduler.enqueue("patient", 3)
        running = wait_for_job(some.app, job, JobState.PROCESSING)
        assert running.server is not None
        found[name] = Kill(running, store_of(some.app).now())
        # The whole host at once, as if its power had gone.
        os.killpg(some.processes[running.server].pid, signal.SIGKILL)
    return found


@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_job_of_a_killed_host_runs_again_on_another(
    hosts: dict[str, Hosts], kills: dict[str, Kill], database: str
) -> None:
    some, kill = hosts[database], kills[database]

    again = wait_for(lambda: _claimed_again(some.app, kill.job), timeout=15)
    assert again is not None
    assert again.started_at is not None
    took = again.started_at - kill.at
    print(f"{database}: runs again after {took.total_seconds():.1f} s")
    assert took < timedelta(seconds=10)

    done = wait_for_job(some.app, kill.job)
    assert (done.state, done.result, done.claim) == (JobState.SUCCEEDED, "done", 2)
    assert done.server in some.processes
    assert done.server != kill.job.server
    assert [one.outcome for one in store_of(some.app).jobs.attempts(done.id)] == ["Lost"]
    assert kill.job.server not in {one.name for one in store_of(some.app).servers.live()}

    # Those that are left have gone on ticking all the while.
    dues = [job.due for job in some.ticks(kill.at + timedelta(seconds=1)) if job.due is not None]
    assert dues == [dues[0] + timedelta(seconds=number) for number in range(len(dues))]
    assert len(dues) >= took.total_seconds() - 1


def _claimed_again(app: Flask, job: Job) -> Job | None:
    found = job_of(app, job)
    return found if found.claim == 2 else None
