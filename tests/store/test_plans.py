"""The plans of the statements: none of them reads or sorts the whole job table.

With few rows and with many, with figures about the tables that are old and with fresh ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
import sqlalchemy as sa

from flask_recurring._store import Cursor, Database, Store, create_engine
from flask_recurring._store.claim import Claimed, Lane
from flask_recurring._store.listing import Listing
from flask_recurring._store.spool import Chunk
from flask_recurring._store.transitions import Outcome
from flask_recurring.job import JobState
from tests.postgres import Server
from tests.store.plans import Plan, Watch, sqlite_plans
from tests.store.samples import MOMENT, new_job, sqlite_only
from tests.store.worker import Worker, failure, success

SOME = 20_000
MANY = 1_000_000

PHASES = {
    "one row": 1,
    # Few enough for the planner to think that reading all is cheaper than looking up a batch.
    "some rows": SOME,
    "many rows and old figures": MANY,
    "many rows and fresh figures": MANY,
}
FRESH = ("some rows", "many rows and fresh figures")

BATCH = 1_000

FILL = """
    INSERT INTO flask_recurring.job (task, arguments, queue, priority, state, run_at, created_at,
        started_at, finished_at, claim, attempt, server_id, ran_on, recurring_id, due)
    SELECT 'work', '[[],{}]',
           CASE WHEN n %% 10 < 8 THEN 'default' ELSE 'mail' END, n %% 3,
           CASE WHEN n %% 20 < 12 THEN 'Succeeded' WHEN n %% 20 < 13 THEN 'Failed'
                WHEN n %% 20 < 14 THEN 'Deleted' WHEN n %% 40 = 14 THEN 'Processing'
                ELSE 'Enqueued' END,
           CASE WHEN n %% 20 < 18 THEN now() - n * interval '1 ms'
                ELSE now() + interval '1 day' + n * interval '1 ms' END,
           now() - interval '3 days',
           CASE WHEN n %% 20 < 14 OR n %% 40 = 14 THEN now() - interval '2 days' END,
           CASE WHEN n %% 20 < 14 THEN now() - interval '2 days' + n * interval '1 ms' END,
           CASE WHEN n %% 20 < 15 THEN 1 ELSE 0 END, CASE WHEN n %% 20 < 15 THEN 1 ELSE 0 END,
           CASE WHEN n %% 40 = 14 THEN n %% 7 + 1000 END, CASE WHEN n %% 20 < 15 THEN 1000 END,
           CASE WHEN n %% 100 = 0 THEN 'nightly' END, NULL
    FROM generate_series(%s::int, %s::int) AS n
"""


@pytest.fixture(scope="module")
def database(postgres: Server) -> Iterator[Database]:
    """A PostgreSQL database with one job."""
    url = postgres.create_database()
    database = Database(create_engine(url))
    database.prepare()
    Store(database).jobs.insert(new_job())
    with database.connect() as connection:
        for table in database.tables.metadata.tables.values():
            name = database.tables.name(table.name)
            connection.exec_driver_sql(f"ALTER TABLE {name} SET (autovacuum_enabled = false)")
        connection.exec_driver_sql("VACUUM ANALYZE")
    yield database
    database.close()
    database.bare_engine.dispose()
    postgres.drop_database(url)


@pytest.fixture(scope="module", params=PHASES)
def phase(request: pytest.FixtureRequest, database: Database) -> str:
    """How many jobs there are, and what the planner knows of them."""
    phase: str = request.param
    with database.connect() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM flask_recurring.job").scalar_one()
        if count < PHASES[phase]:
            connection.exec_driver_sql(FILL, (count + 1, PHASES[phase]))
        if phase in FRESH:
            connection.exec_driver_sql("VACUUM ANALYZE")
    return phase


@pytest.fixture
def worker(database: Database, phase: str) -> Iterator[Worker]:
    worker = Worker(Store(database))
    yield worker
    worker.close()


@pytest.fixture(params=["force_custom_plan", "force_generic_plan"])
def watch(request: pytest.FixtureRequest, worker: Worker) -> Watch:
    """Watches the worker's connection, whose statements are planned anew, or once for all."""
    watch = Watch(worker.connection)
    watch.driver.execute("SELECT set_config('plan_cache_mode', %s, false)", (request.param,))
    return watch


def check(plans: list[Plan], *, sorts: bool = False) -> None:
    """None of them reads the whole table, or sorts what it has read."""
    assert plans
    for plan in plans:
        assert not plan.scans("job"), str(plan)
        if not sorts:
            assert not plan.sorts("job"), str(plan)


def indexes(plans: list[Plan]) -> set[str]:
    return {index for plan in plans for index in plan.indexes()}


def lanes(worker: Worker) -> list[Lane]:
    found = worker.lanes()
    assert found
    return found


def test_claiming(worker: Worker, watch: Watch, phase: str) -> None:
    where = lanes(worker)
    for limit in (1, 20, BATCH):
        with watch.plans() as plans:
            assert worker.claim(limit, where)
        check(plans)
        assert indexes(plans) <= {"job_fetch", "job_pkey", "server_pkey", "server_live"}
        for one in plans[0].top:
            if one.reads("job") and one.index == "job_fetch" and one.table == "job":
                # From the front of the lane, and no further than to what is due.
                assert one.kind == "Index Scan"
                assert "queue" in one.node["Index Cond"]
                assert "run_at" in one.node["Index Cond"]


def test_claiming_from_a_mark(worker: Worker, watch: Watch) -> None:
    where = lanes(worker)
    for lane in where:
        lane.mark = MOMENT
    with watch.plans() as plans:
        assert worker.claim(50, where)
    check(plans)
    conditions = [one.node["Index Cond"] for one in plans[0].top if one.index == "job_fetch"]
    assert conditions
    assert all(condition.count("run_at") == 2 for condition in conditions)


ENDS: dict[str, Callable[[Worker, list[Claimed]], object]] = {
    "success": lambda worker, runs: worker.complete([success(run) for run in runs]),
    "success with a result": lambda worker, runs: worker.complete(
        [success(run, result="1") for run in runs]
    ),
    "failure": lambda worker, runs: worker.complete((), [failure(run) for run in runs]),
    "retry": lambda worker, runs: worker.complete((), [failure(run, retry_in=5) for run in runs]),
    "hand-over": lambda worker, runs: worker.complete(
        (), [failure(run, Outcome.RELEASED) for run in runs]
    ),
    "handing back": lambda worker, runs: worker.release(*runs),
}


def test_ending_runs(worker: Worker, watch: Watch) -> None:
    where = lanes(worker)
    for name, end in ENDS.items():
        for count in (1, BATCH):
            with watch.plans() as plans:
                runs = worker.claim(count, where)
                watch.complete()
                watch.found.clear()
                end(worker, runs)
            check(plans)
            assert indexes(plans) <= {"job_pkey"}, name


def test_looking_for_lanes(worker: Worker, watch: Watch) -> None:
    with watch.plans() as plans:
        lanes(worker)
    check(plans)
    assert indexes(plans) <= {"job_fetch", "queue_pkey"}


def test_finding_what_a_server_holds(worker: Worker, watch: Watch) -> None:
    jobs = worker.store.jobs
    with watch.plans() as plans:
        jobs.claimed_by(worker.connection, worker.id)
        jobs.claimed_by(worker.connection, 1001, cancelled=True)
        worker.store.servers.leaked(worker.connection)
    check(plans)
    assert "job_running" in indexes(plans)


def test_purging(worker: Worker, watch: Watch) -> None:
    with watch.plans() as plans, suppress(sa.exc.DBAPIError):
        # Its own BEGIN and COMMIT end the transaction around it: only what is to go is looked for.
        for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED):
            worker.store.jobs.purge_chunk(worker.connection, state, timedelta(days=3000))
    check(plans)
    assert indexes(plans) == {"job_finished"}


NARROWED: list[dict[str, str]] = [
    {"queue": "mail"},
    {"task": "work"},
    {"recurring_id": "nightly"},
    {"recurring_id": "nightly", "queue": "mail"},
]


def read_list(
    database: Database, connection: sa.Connection, state: JobState | None, **given: str
) -> None:
    """The first page of a list, and those before and after a place in its middle."""
    place = Cursor(MOMENT + timedelta(days=365), MANY // 2)
    filters = {"queue": None, "task": None, "recurring_id": None} | given
    for before, after in ((None, None), (place, None), (None, place)):
        Listing(database).rows(connection, state, filters, before, after, 50)


STATES = [None, *JobState]

RARE: list[dict[str, str]] = [
    {"task": "rare"},
    {"queue": "rare"},
    {"recurring_id": "nightly", "task": "rare"},
    {"recurring_id": "nightly", "queue": "rare"},
]


def test_what_is_rare_is_looked_for_in_few_rows(database: Database, phase: str) -> None:
    """On a connection of the application's pool, as the dashboard asks."""
    if phase != "many rows and fresh figures":
        return
    look = 1_000
    with database.connect() as connection:
        watch = Watch(connection)
        watch.driver.execute("SET auto_explain.log_analyze = on")
        for state in STATES:
            for given in RARE:
                filters = {"queue": None, "task": None, "recurring_id": None} | given
                with watch.plans() as plans:
                    found = Listing(database).rows(connection, state, filters, None, None, 50, look)
                assert not found.rows
                read = sum(plan.rows_read("job") for plan in plans)
                few = MANY // 40 if state is JobState.PROCESSING else 0
                assert read <= 3 * look + few, (state, given, [str(plan) for plan in plans])
        connection.invalidate()


def test_listing(database: Database, worker: Worker, watch: Watch, phase: str) -> None:
    for state in STATES:
        with watch.plans() as plans:
            read_list(database, worker.connection, state)
        # Those that run are sorted: they are few, and no index has them in order of their start.
        check(plans, sorts=state is JobState.PROCESSING)
        for filters in NARROWED:
            with watch.plans() as plans:
                read_list(database, worker.connection, state, **filters)
            # It is the planner's choice whether it finds few and sorts them; but to find them it
            # never reads the whole table.
            check(plans, sorts=True)


def test_counting(database: Database, worker: Worker, watch: Watch) -> None:
    with watch.plans() as plans:
        Listing(database).counts(worker.connection)
    check(plans)


def test_one_job(database: Database, worker: Worker, watch: Watch) -> None:
    job = database.tables.job
    with watch.plans() as plans:
        worker.connection.execute(Listing(database).select().where(job.c.id == 1))
        worker.connection.execute(Listing(database).select().where(job.c.key == "k"))
        worker.driver.insert(worker.connection, new_job(key="k"), None)
        keyed = Chunk([new_job(key="k"), new_job(key="l")])
        worker.driver.insert_many(worker.connection, keyed)
    check(plans)


def test_pooled_connections_need_no_settings(database: Database, worker: Worker) -> None:
    """Those of clients leave the planner as it is."""
    with database.connect() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM flask_recurring.job").scalar_one()
        figures = connection.exec_driver_sql(
            "SELECT reltuples FROM pg_class WHERE oid = 'flask_recurring.job'::regclass"
        ).scalar_one()
        if figures < count / 2 or count < MANY:
            return
        watch = Watch(connection)
        with watch.plans() as plans:
            for state in STATES:
                read_list(database, connection, state)
                for filters in NARROWED:
                    read_list(database, connection, state, **filters)
            Listing(database).counts(connection)
            connection.execute(Listing(database).select().where(database.tables.job.c.id == 1))
            worker.store.jobs.purge_chunk(connection, JobState.FAILED, timedelta(days=3000))
        check(plans, sorts=True)
        connection.invalidate()


# -- SQLite


@sqlite_only
@pytest.mark.parametrize("count", [1, 5_000])
def test_sqlite(store: Store, count: int) -> None:
    store.jobs.insert_many(
        new_job(queue="ab"[number % 2], priority=number % 3) for number in range(count)
    )
    worker = Worker(store)
    worker.complete([success(run) for run in worker.claim(count // 2)])
    if count > 1:
        with store.database.connect() as connection:
            connection.exec_driver_sql("ANALYZE")
    where = worker.lanes()
    with sqlite_plans(worker.connection) as found:
        worker.lanes()
        runs = worker.claim(50, where)
        worker.release(*runs[:1])
        runs = worker.claim(50, where)
        worker.complete(
            [success(run) for run in runs[::2]], [failure(run, retry_in=0) for run in runs[1::2]]
        )
        Listing(store.database).counts(worker.connection)
        store.jobs.purge_chunk(worker.connection, JobState.SUCCEEDED, timedelta(days=3000))
        store.jobs.claimed_by(worker.connection, worker.id)
    worker.close()
    assert found
    for text, steps in found.items():
        for one in steps:
            assert one != "SCAN flask_recurring_job", text
            assert not one.startswith("USE TEMP B-TREE"), (text, steps)
            if "ORDER BY run_at, id" in text or "ORDER BY queue" in text:
                assert "job_fetch" in one or "flask_recurring_job" not in one, (text, steps)


@sqlite_only
def test_sqlite_lists(store: Store) -> None:
    store.jobs.insert_many(new_job(recurring_id="nightly") for _ in range(2_000))
    worker = Worker(store)
    worker.complete([success(run) for run in worker.claim(1_000)])
    worker.claim(10)
    with store.database.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    for state in STATES:
        with sqlite_plans(worker.connection) as found:
            read_list(store.database, worker.connection, state)
            for filters in NARROWED:
                read_list(store.database, worker.connection, state, **filters)
        for text, steps in found.items():
            assert "SCAN flask_recurring_job" not in steps or "ORDER BY" in text, (text, steps)
            if state is None or state.finished:
                assert not any(one.startswith("USE TEMP B-TREE") for one in steps), (text, steps)
    worker.close()
