"""PostgreSQL that crashes, ends connections, takes no writes, or lets nobody in."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from tests.chaos.conftest import MakeFleet
from tests.chaos.fleet import RECOVERY, Client, Fleet, Load, last_for, recovery
from tests.chaos.size import sized
from tests.chaos.verdict import check_jobs, check_ticks
from tests.postgres import Cluster
from tests.waiting import wait_for

Measured = Callable[[str, float], None]


@pytest.fixture
def cluster(private_postgres: Cluster) -> Cluster:
    return private_postgres


def end_with_everything_done(fleet: Fleet, client: Client, ids: list[int]) -> None:
    """All jobs ran once and no server was taken for dead: the fault was the database's alone."""
    client.wait_until_finished(ids, 60)
    check_jobs(fleet, client, ids)
    check_ticks(fleet, client, seconds=2)
    assert [host.exit_code for host in fleet.hosts] == [None] * len(fleet.hosts)
    assert len(client.store.servers.live()) == len(fleet.hosts)
    for host in fleet.hosts:
        assert "taken for dead" not in host.output() or "took it for dead" not in host.output()


@contextmanager
def session(cluster: Cluster, url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the operator's, who has his own ways in."""
    with psycopg.connect(cluster.dsn(make_url(url).database or ""), autocommit=True) as connection:
        yield connection


def test_database_restarts_after_crashes(
    chaos: MakeFleet, cluster: Cluster, measured: Measured
) -> None:
    fleet, client = chaos(cluster.create_database())
    fleet.start(2, ticks=2)
    crashes = sized(2, 5)
    with Load(client, seconds=0.05) as load:
        for _ in range(crashes):
            load.wait_for_more(30)
            cluster.stop("immediate")
            last_for(random.uniform(0, sized(1.0, 20.0)))
            cluster.start()
            measured("recovery after a crash", recovery(fleet, client, time.monotonic()))
        load.wait_for_more(30)
        ids = load.stop()
    assert load.refusals, "the load went on while the database was away"
    end_with_everything_done(fleet, client, ids)


def test_connections_are_ended_at_random(
    chaos: MakeFleet, postgres_url: str, measured: Measured
) -> None:
    fleet, client = chaos(postgres_url)
    fleet.start(2, ticks=2)
    end = time.monotonic() + sized(4.0, 30.0)
    with (
        psycopg.connect(_dsn(postgres_url), autocommit=True) as operator,
        Load(client, seconds=0.02) as load,
    ):
        while time.monotonic() < end:
            operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid ="
                " (SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                "  AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1)"
            )
            last_for(0.1)
        since = time.monotonic()
        measured("recovery", recovery(fleet, client, since))
        ids = load.stop()
    end_with_everything_done(fleet, client, ids)


def test_hints_work_again_after_the_listening_connection_was_ended(
    chaos: MakeFleet, postgres_url: str, measured: Measured
) -> None:
    # By polling alone, a job would wait for half a minute on average.
    fleet, client = chaos(postgres_url, poll_interval=60)
    fleet.start(1)
    client.wait_until_finished(client.work(1), 10)
    with psycopg.connect(_dsn(postgres_url), autocommit=True) as operator:
        (ended,) = operator.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'flask_recurring listen'"
        ).fetchone() or (0,)
    assert ended == 1
    since = time.monotonic()

    def heard_at_once() -> bool:
        job = client.store.jobs.get(client.work(1)[0])
        assert job is not None
        client.wait_until_finished([job.id], since + 10.0 - time.monotonic())
        done = client.store.jobs.get(job.id)
        assert done is not None
        assert done.started_at is not None
        return (done.started_at - done.created_at).total_seconds() < 0.5

    wait_for(heard_at_once, 10, "a job that is heard of at once")
    measured("hints heard again", time.monotonic() - since)
    wait_for(heard_at_once, 1, "another one")


def test_database_takes_no_writes_for_a_while(
    chaos: MakeFleet, cluster: Cluster, measured: Measured
) -> None:
    url = cluster.create_database()
    name = make_url(url).database
    fleet, client = chaos(url)
    fleet.start(2, ticks=2)
    with Load(client, seconds=0.02) as load:
        load.wait_for_more(20)
        cluster.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        with session(cluster, url) as operator:
            operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        # One that starts in the middle of it has to wait, and comes in by itself too.
        fleet.begin(ticks=2)
        last_for(sized(2.5, 20.0))
        assert load.refusals
        cluster.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        since = time.monotonic()
        measured("recovery", recovery(fleet, client, since))
        load.wait_for_more(20, timeout=since + RECOVERY - time.monotonic())
        ids = load.stop()
    end_with_everything_done(fleet, client, ids)


def test_table_is_locked_for_a_while(
    chaos: MakeFleet, postgres_url: str, measured: Measured
) -> None:
    fleet, client = chaos(postgres_url)
    fleet.start(2, ticks=2)
    with Load(client, seconds=0.02) as load:
        load.wait_for_more(20)
        with psycopg.connect(_dsn(postgres_url)) as operator:
            operator.execute("LOCK TABLE flask_recurring.job IN ACCESS EXCLUSIVE MODE")
            last_for(sized(2.5, 20.0))
        since = time.monotonic()
        measured("recovery", recovery(fleet, client, since))
        load.wait_for_more(20, timeout=since + RECOVERY - time.monotonic())
        ids = load.stop()
    end_with_everything_done(fleet, client, ids)


def test_all_connections_are_used_up_for_a_while(
    chaos: MakeFleet, cluster: Cluster, measured: Measured
) -> None:
    # The limit is for other users than the superuser who operates.
    url = cluster.create_database()
    cluster.execute("CREATE ROLE app LOGIN")
    cluster.execute(f'GRANT ALL ON DATABASE "{make_url(url).database}" TO app')
    mine = make_url(url).set(username="app").render_as_string(hide_password=False)
    fleet, client = chaos(mine)
    fleet.start(2, ticks=2)
    with Load(client, seconds=0.02) as load, ExitStack() as stack:
        load.wait_for_more(20)
        with session(cluster, url) as operator:
            # Whoever wants in again stands before a full house.
            cluster.execute("ALTER ROLE app CONNECTION LIMIT 0")
            operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"
            )
        last_for(sized(2.5, 20.0))
        assert load.refusals
        stack.close()
        cluster.execute("ALTER ROLE app CONNECTION LIMIT -1")
        since = time.monotonic()
        measured("recovery", recovery(fleet, client, since))
        load.wait_for_more(20, timeout=since + RECOVERY - time.monotonic())
        ids = load.stop()
    end_with_everything_done(fleet, client, ids)


def _dsn(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
