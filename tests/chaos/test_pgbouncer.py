"""PgBouncer in transaction mode between servers and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import MakeFleet
from tests.chaos.fleet import Client, Load, last_for, recovery
from tests.chaos.pgbouncer import PgBouncer
from tests.chaos.size import sized
from tests.chaos.verdict import check_jobs, check_ticks
from tests.postgres import Cluster
from tests.waiting import wait_for

Measured = Callable[[str, float], None]


@pytest.fixture
def url(private_postgres: Cluster) -> str:
    return private_postgres.create_database()


@pytest.fixture
def pooler(url: str, tmp_path: Path) -> Iterator[PgBouncer]:
    with PgBouncer(url, tmp_path) as pooler:
        pooler.wait_for_port(pooler.port)
        yield pooler


def test_everything_works_through_a_pooler_and_survives_a_crash_behind_it(
    chaos: MakeFleet,
    private_postgres: Cluster,
    url: str,
    pooler: PgBouncer,
    measured: Measured,
) -> None:
    fleet, _ = chaos(url)
    with Client(fleet.folder / "pooled", pooler.url) as client:
        fleet.start(2, pooler.url, ticks=2)
        ids = client.work(sized(2000, 50_000))
        with Load(client, seconds=0.02) as load:
            load.wait_for_more(50)
            client.wait_until_finished(ids, sized(20, 120))
            private_postgres.restart("immediate")
            since = time.monotonic()
            measured("recovery", recovery(fleet, client, since))
            load.wait_for_more(50)
            last_for(sized(1.0, 30.0))
            ids += load.stop()
        client.wait_until_finished(ids, 30)
        check_jobs(fleet, client, ids)
        check_ticks(fleet, client, seconds=2)
        assert "pooled: looking for jobs by polling" in fleet.hosts[0].output()
        assert "prepared statement" not in "".join(host.output() for host in fleet.hosts)


def test_killed_server_behind_a_pooler_is_found_dead_by_its_silence(
    chaos: MakeFleet, url: str, pooler: PgBouncer, measured: Measured
) -> None:
    timeout = sized(4.0, 20.0)
    fleet, _ = chaos(url, heartbeat_interval=0.5, server_timeout=timeout)
    with Client(fleet.folder / "pooled", pooler.url) as client:
        victim, _ = fleet.start(2, pooler.url)
        ids = client.work(8, sized(1.0, 10.0))
        wait_for(
            lambda: sum(run.pid == victim.pid for run in fleet.runs()) == 4,
            message="the victim's workers being busy",
        )
        victim.kill()
        assert victim.died_at is not None
        client.wait_until_finished(ids, timeout + 20)
        lost = {run.job for run in fleet.runs() if run.pid == victim.pid and run.ended is None}
        assert lost
        again = [run.begun for run in fleet.runs() if run.job in lost and run.pid != victim.pid]
        measured("run again after", max(again) - victim.died_at)
        check_jobs(fleet, client, ids, lambda run: run.pid == victim.pid)
