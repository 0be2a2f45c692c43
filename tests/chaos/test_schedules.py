"""Six servers that go on and off at random, over forty schedules: every tick comes exactly once."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from datetime import datetime, timedelta

import psycopg
import sqlalchemy as sa

from tests.chaos.clock import wrong_clock
from tests.chaos.conftest import MakeFleet
from tests.chaos.fleet import Client, Fleet, last_for
from tests.chaos.size import sized
from tests.waiting import wait_for

SERVERS = 6
SCHEDULES = 40
SECOND = timedelta(seconds=1)

CLOCKS = ("-1h", "-7m", "+0s", "+7m", "+1h")


def disturb(fleet: Fleet, url: str) -> None:
    """Start, stop or kill a server, or end a connection."""
    alive = fleet.alive
    match random.choice(("start", "start", "stop", "kill", "cut", "cut", "cut")):
        case "start" if len(alive) < SERVERS:
            # SQLite has no other clock than its host's.
            sqlite = url.startswith("sqlite")
            fleet.begin(env=None if sqlite else wrong_clock(random.choice(CLOCKS)))
        case "stop" if len(alive) > 1:
            random.choice(alive).send(signal.SIGTERM)
        case "kill" if len(alive) > 1:
            random.choice(alive).kill()
        case "cut" if url.startswith("postgresql"):
            dsn = sa.make_url(url).set(drivername="postgresql")
            with psycopg.connect(
                dsn.render_as_string(hide_password=False), autocommit=True
            ) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    " AND application_name LIKE 'flask_recurring%' ORDER BY random() LIMIT 1"
                )


def ticks_of(client: Client) -> dict[str, list[tuple[datetime, str, int | None]]]:
    """Due time, outcome and job of each tick, in the order of the due times, by schedule."""
    tick = client.store.database.tables.tick.c
    with client.store.database.connect() as connection:
        rows = connection.execute(
            sa.select(tick.recurring_id, tick.due, tick.outcome, tick.job_id).order_by(tick.due)
        ).all()
    found: dict[str, list[tuple[datetime, str, int | None]]] = {}
    for id, due, outcome, job_id in rows:
        found.setdefault(id, []).append((due, outcome, job_id))
    return found


def test_every_tick_comes_exactly_once(chaos: MakeFleet, database_url: str) -> None:
    fleet, client = chaos(database_url, heartbeat_interval=0.5, server_timeout=10, workers=2)
    for number in range(SCHEDULES):
        client.scheduler.add_or_update(
            f"schedule-{number:02}", "tick", "* * * * * *", misfire="all", misfire_limit=10_000
        )
    fleet.start(2)
    begun = client.store.now()
    end = time.monotonic() + sized(10.0, 120.0)
    while time.monotonic() < end:
        disturb(fleet, database_url)
        last_for(random.uniform(0.1, 0.5))
    until = client.store.now()
    fleet.start(1)

    def all_there() -> bool:
        jobs = client.scheduler.list_recurring()
        return all(job.last_due is not None and job.last_due > until for job in jobs)

    wait_for(all_there, 30, "all schedules to have caught up")
    for job in client.scheduler.list_recurring():
        client.scheduler.pause(job.id)
    fleet.stop()

    found = ticks_of(client)
    assert len(found) == SCHEDULES
    wrong: list[str] = []
    for id, ticks in found.items():
        first = ticks[0][0]
        assert first <= begun + SECOND
        dues = [due for due, _, _ in ticks]
        if dues != [first + number * SECOND for number in range(len(dues))]:
            wrong.append(f"{id}: a tick is missing or doubled: {dues}")
        wrong += [f"{id}: {due} {outcome}" for due, outcome, _ in ticks if outcome != "run"]
    assert not wrong, "\n".join(wrong[:10])

    table = client.store.database.tables.job.c
    with client.store.database.connect() as connection:
        jobs = Counter(
            (row.recurring_id, row.due)
            for row in connection.execute(sa.select(table.recurring_id, table.due))
        )
    assert set(jobs.values()) == {1}
    assert jobs.keys() == {(id, due) for id, ticks in found.items() for due, _, _ in ticks}
    print(f"{sum(map(len, found.values()))} ticks, by {len(fleet.hosts)} servers")
