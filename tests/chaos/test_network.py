"""Connections that go silent, and replies that never arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import make_url

from flask_recurring import StoreUnavailable
from tests.chaos.conftest import MakeFleet
from tests.chaos.fleet import RECOVERY, Client, Fleet, Load, last_for, recovery
from tests.chaos.proxy import Connection, Proxy, Trap
from tests.chaos.size import FULL, sized
from tests.chaos.verdict import check_jobs, check_ticks
from tests.standstill import STANDS_STILL
from tests.waiting import wait_for

Measured = Callable[[str, float], None]

ROLES = ("claim", "complete", "heartbeat", "control", "listen")

HEARTBEAT = 2.0
"""Seconds between two heartbeats of a server, as everybody has it."""

# As everybody has it, where there is the time.
TIMEOUT = {} if FULL else {"statement_timeout": 2}


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    with Proxy(postgres_url) as proxy:
        yield proxy


def connection_of(role: str, proxy: Proxy, url: str) -> Connection | None:
    """The server's connection of this role that goes through the proxy and works."""
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn) as operator:
        ports = operator.execute(
            "SELECT client_port FROM pg_stat_activity WHERE application_name = %s",
            (f"flask_recurring {role}",),
        ).fetchall()
    known = proxy.by_port()
    found = [known[port] for (port,) in ports if port in known]
    return next((one for one in found if not one.swallowing), None)


def end_with_everything_done(fleet: Fleet, client: Client, ids: list[int]) -> None:
    """All jobs ran once, and no server was taken for dead."""
    client.wait_until_finished(ids, 60)
    check_jobs(fleet, client, ids)
    check_ticks(fleet, client, seconds=2)
    for host in fleet.hosts:
        assert "took it for dead" not in host.output()


def test_connections_go_silent(chaos: MakeFleet, postgres_url: str, measured: Measured) -> None:
    fleet, client = chaos(postgres_url, **TIMEOUT)
    with ExitStack() as stack:
        # A server for each of its connections, so that all are waited for at the same time.
        proxies = {role: stack.enter_context(Proxy(postgres_url)) for role in ROLES}
        for proxy in proxies.values():
            fleet.begin(proxy.url, ticks=2, workers=2)
        for host in fleet.hosts:
            host.wait_until_ready()
        with Load(client, seconds=0.02) as load:
            load.wait_for_more(20)
            for role, proxy in proxies.items():
                silent = wait_for(lambda: connection_of(role, proxy, postgres_url))  # noqa: B023
                assert silent is not None
                silent.swallowing = True
            since = time.monotonic()
            missing = dict(proxies)

            def all_replaced() -> bool:
                for role, proxy in tuple(missing.items()):
                    if connection_of(role, proxy, postgres_url):
                        measured(f"a new connection to {role}", time.monotonic() - since)
                        del missing[role]
                return not missing

            # A connection is found silent when it is next used, and the last one is used by the
            # next heartbeat.
            bound = RECOVERY + HEARTBEAT
            wait_for(all_replaced, bound, lambda: f"new connections to {set(missing)}")
            measured("recovery", recovery(fleet, client, since, bound))
            ids = load.stop()
        end_with_everything_done(fleet, client, ids)


def test_connection_goes_silent_in_the_middle_of_a_tick(
    chaos: MakeFleet, postgres_url: str, proxy: Proxy, measured: Measured
) -> None:
    fleet, client = chaos(postgres_url, **TIMEOUT)
    fleet.start(1, proxy.url, ticks=2)
    control = wait_for(lambda: connection_of("control", proxy, postgres_url), RECOVERY)
    assert control is not None
    # After this the recurring job's row is locked by a transaction that nobody goes on with.
    trap = control.trap = Trap("SELECT 1", within=True, silent=True)
    assert trap.sprung.wait(10)
    since = time.monotonic()
    fleet.start(1, ticks=2)

    def ticked() -> bool:
        return any(run.due is not None and run.begun > since for run in fleet.runs())

    wait_for(ticked, RECOVERY, "a tick after the one that was stuck")
    measured("ticking again", time.monotonic() - since)
    measured("recovery", recovery(fleet, client, since))
    end_with_everything_done(fleet, client, client.work(10))


def test_host_is_cut_off_for_a_while(
    chaos: MakeFleet, postgres_url: str, proxy: Proxy, measured: Measured
) -> None:
    fleet, client = chaos(postgres_url, **TIMEOUT)
    fleet.start(1, proxy.url, ticks=2)
    fleet.start(1, ticks=2)
    with Load(client, seconds=0.02) as load:
        load.wait_for_more(20)
        proxy.swallow()
        last_for(sized(4.0, 30.0))
        proxy.swallow(False)
        since = time.monotonic()
        measured("recovery", recovery(fleet, client, since))
        ids = load.stop()
    end_with_everything_done(fleet, client, ids)


@pytest.mark.parametrize(
    ("role", "tag"),
    [
        ("claim", "UPDATE [1-9][0-9]*"),
        ("complete", "UPDATE [1-9][0-9]*"),
        ("complete", "COMMIT"),
        ("control", "COMMIT"),
    ],
    ids=["claim", "completion", "completion with counts", "tick"],
)
def test_reply_to_what_was_committed_is_cut(
    chaos: MakeFleet, postgres_url: str, proxy: Proxy, measured: Measured, role: str, tag: str
) -> None:
    fleet, client = chaos(postgres_url)
    fleet.start(1, proxy.url, ticks=2)
    with Load(client, seconds=0.01) as load:
        for _ in range(sized(2, 30)):
            load.wait_for_more(5)
            one = wait_for(lambda: connection_of(role, proxy, postgres_url), RECOVERY)
            assert one is not None
            trap = one.trap = Trap(tag)
            assert trap.sprung.wait(RECOVERY)
        measured("recovery", recovery(fleet, client, time.monotonic()))
        ids = load.stop()
    end_with_everything_done(fleet, client, ids)
    for job_id in ids:
        job = client.store.jobs.get(job_id)
        assert job is not None
        assert job.attempt == 1


def test_reply_to_an_enqueue_with_a_key_is_cut(
    chaos: MakeFleet, postgres_url: str, proxy: Proxy
) -> None:
    fleet, direct = chaos(postgres_url)
    fleet.start(1)
    with Client(fleet.folder / "cut", proxy.url) as client:
        task = client.scheduler.tasks["work"]
        first = task.enqueue(0.0)
        for number in range(sized(5, 50)):
            # A job that has finished meanwhile counts too: else its key would be free again.
            bound = task.options(key=f"order-{number}", key_kept=True)
            trap = proxy.set_trap(Trap("(SELECT|INSERT 0) 1"))
            with pytest.raises(StoreUnavailable):
                bound.enqueue(0.0)
            assert trap.sprung.is_set()
            job = bound.enqueue(0.0)
            assert bound.enqueue(0.0).id == job.id
    job_table = direct.store.database.tables.job
    with direct.store.database.connect() as connection:
        ids = list(connection.execute(sa.select(job_table.c.id)).scalars())
    assert len(ids) == sized(5, 50) + 1
    assert first.id in ids
    direct.wait_until_finished(ids, 20)
    check_jobs(fleet, direct, ids)


def test_claim_is_committed_long_after_its_connection_was_cut(
    chaos: MakeFleet, postgres_url: str, proxy: Proxy, measured: Measured
) -> None:
    fleet, client = chaos(postgres_url)
    fleet.start(1, proxy.url)
    dsn = make_url(postgres_url).set(drivername="postgresql").render_as_string()
    with psycopg.connect(dsn, autocommit=True) as operator:
        # Once the statement is prepared it is sent in one piece.
        for _ in range(4):
            client.wait_until_finished(client.work(1), 10)
        operator.execute(STANDS_STILL)
        ids = client.work(4)

        def waits() -> bool:
            rows = operator.execute(
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'flask_recurring claim'"
                " AND wait_event_type = 'Lock'"
            ).fetchall()
            return bool(rows)

        wait_for(waits, RECOVERY, "a claim that waits for the lock")
        cut = wait_for(lambda: connection_of("claim", proxy, postgres_url), RECOVERY)
        assert cut is not None
        cut.close()
        fleet.hosts[0].wait_for_line("Taking jobs: works again")
        operator.execute("SELECT pg_advisory_unlock(4711)")
        since = time.monotonic()
    client.wait_until_finished(ids, RECOVERY)
    measured("recovery", time.monotonic() - since)
    check_jobs(fleet, client, ids)
    claims = {job.claim for id in ids if (job := client.store.jobs.get(id)) is not None}
    assert claims == {2}, "the first claim was committed after all"
