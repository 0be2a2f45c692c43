"""How a database comes to its tables: by itself, once, whoever starts together."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_recurring._store import (
    Database,
    Lease,
    NewLine,
    Store,
    StoreUnusable,
    create_engine,
    lines_row,
)
from flask_recurring._store.migrations import MIGRATIONS, Migration, migrate
from flask_recurring._store.schema import Tables
from tests.postgres import Cluster
from tests.store.conftest import OpenStore
from tests.store.migrator import steps
from tests.store.race import race
from tests.store.samples import definition, fail, new_job, row_count
from tests.store.worker import Worker

FOLDER = Path(__file__).parents[2]

NEWEST = max((step.version for step in MIGRATIONS), default=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """URL of a database in which there is nothing yet."""
    url: str = request.getfixturevalue(
        {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    )
    return url


@pytest.fixture
def empty(open_store: OpenStore, empty_url: str) -> Store:
    """A store in whose database there is nothing yet."""
    return open_store(empty_url)


def stamps(store: Store) -> list[tuple[int, str]]:
    """The versions that the database says it has been through."""
    name = store.database.tables.name("schema_version")
    with store.database.connect() as connection:
        rows = connection.exec_driver_sql(f"SELECT version, name FROM {name} ORDER BY version")
        return [(row[0], row[1]) for row in rows]


def columns(store: Store) -> set[str]:
    """The columns that the job table has."""
    table = store.database.tables.job
    with store.database.connect() as connection:
        found = sa.inspect(connection).get_columns(table.name, schema=table.schema)
    return {column["name"] for column in found}


def works(store: Store) -> bool:
    """Whether a job can be written, taken and ended."""
    job = store.jobs.insert(new_job())
    worker = Worker(store)
    try:
        return job.id in [claimed.id for claimed in worker.claim()]
    finally:
        worker.close()


# -- an empty database


def test_an_empty_database_gets_the_newest_tables(empty: Store) -> None:
    empty.prepare()
    assert stamps(empty) == [(NEWEST, "created")]
    assert works(empty)
    tables = empty.database.tables
    with empty.database.connect() as connection:
        inspector = sa.inspect(connection)
        for table in tables.metadata.tables.values():
            found = inspector.get_columns(table.name, schema=table.schema)
            assert [column["name"] for column in found] == [column.name for column in table.columns]
            indexes = inspector.get_indexes(table.name, schema=table.schema)
            assert {index["name"] for index in indexes} == {index.name for index in table.indexes}


def test_preparing_again_changes_nothing(empty: Store, open_store: OpenStore) -> None:
    empty.prepare()
    empty.jobs.insert(new_job())
    empty.prepare()
    open_store(empty.database.engine.url.render_as_string(hide_password=False)).prepare()
    assert stamps(empty) == [(NEWEST, "created")]
    assert row_count(empty, empty.database.tables.job) == 1


def begin_together(url: str, version: int, count: int) -> list[str]:
    """Let so many processes migrate at once, and return what they say."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.store.migrator", url, str(version), str(count)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=FOLDER,
        timeout=60,
    )
    assert result.stderr == ""
    assert result.returncode == 0
    return result.stdout.splitlines()


def test_eight_processes_that_start_together(empty_url: str, empty: Store) -> None:
    assert begin_together(empty_url, 1, 8) == ["version 1"] * 8
    assert stamps(empty) == [(1, "created")]
    assert works(empty)


def test_threads_that_start_together(empty: Store) -> None:
    race(6, lambda number: empty.prepare())
    assert stamps(empty) == [(NEWEST, "created")]


# -- an older database


def test_many_at_once_take_each_step_once(empty_url: str, open_store: OpenStore) -> None:
    stores = [open_store(empty_url) for _ in range(6)]
    assert migrate(stores[0].database, ()) == 1
    job = stores[0].jobs.insert(new_job())
    assert "extra" not in columns(stores[0])
    versions = race(6, lambda number: migrate(stores[number].database, steps(2)))
    assert versions == [2] * 6
    assert stamps(stores[0]) == [(1, "created"), (2, "step 2")]
    assert "extra" in columns(stores[0])
    assert stores[0].jobs.get(job.id) == job
    # The code of the version before goes on beside it.
    assert works(stores[1])
    assert migrate(stores[1].database, steps(4)) == 4
    assert [version for version, _ in stamps(stores[0])] == [1, 2, 3, 4]


def test_a_new_database_needs_no_steps(empty: Store) -> None:
    assert migrate(empty.database, steps(3)) == 3
    assert stamps(empty) == [(3, "created")]
    assert "extra" not in columns(empty)


def test_a_step_that_fails_leaves_the_database_as_it_was(empty: Store) -> None:
    migrate(empty.database, ())

    def broken(connection: sa.Connection, tables: Tables) -> None:
        connection.exec_driver_sql(f"ALTER TABLE {tables.name('job')} ADD COLUMN other TEXT")
        raise RuntimeError("it broke")

    with pytest.raises(RuntimeError, match="it broke"):
        migrate(empty.database, [*steps(2), Migration(3, "broken", broken)])
    assert stamps(empty) == [(1, "created")]
    assert columns(empty).isdisjoint({"extra", "other"})
    assert migrate(empty.database, steps(3)) == 3


def test_steps_are_taken_in_the_order_of_their_versions(empty: Store) -> None:
    migrate(empty.database, ())
    taken: list[int] = []

    def step(version: int) -> Migration:
        return Migration(version, str(version), lambda *_: taken.append(version))

    migrate(empty.database, [step(4), step(2), step(3)])
    assert taken == [2, 3, 4]


# -- a newer database


def test_a_newer_database_is_used_and_told_of(
    empty: Store, caplog: pytest.LogCaptureFixture
) -> None:
    migrate(empty.database, ())
    migrate(empty.database, steps(7))
    caplog.clear()
    empty.prepare()
    assert f"holds version 7 of the schema, this code knows {NEWEST}" in caplog.text
    assert len(caplog.records) == 1
    assert works(empty)
    assert [version for version, _ in stamps(empty)] == list(range(1, 8))


# -- names


def test_two_schemas_in_one_database_do_not_touch(empty_url: str, open_store: OpenStore) -> None:
    one = open_store(empty_url, schema="shop")
    other = open_store(empty_url, schema="blog_2")
    race(2, lambda number: (one, other)[number].prepare())
    for store in (one, other):
        assert stamps(store) == [(NEWEST, "created")]
        store.recurring.save([definition()])
        store.jobs.insert_many([new_job(key="k"), new_job()])
    one.recurring.pause("nightly")
    worker, idle = Worker(one), Worker(other)
    assert len(worker.claim()) == 2
    assert [server.id for server in one.servers.live()] == [worker.id]
    assert len(idle.claim()) == 2
    assert [job.paused for job in other.recurring.all()] == [False]
    with one.database.begin() as connection:
        connection.execute(sa.delete(one.database.tables.job))
    assert row_count(other, other.database.tables.job) == 2
    worker.close()
    idle.close()


def test_names_say_where_the_tables_are(empty_url: str, open_store: OpenStore) -> None:
    store = open_store(empty_url, schema="shop")
    store.prepare()
    with store.database.connect() as connection:
        inspector = sa.inspect(connection)
        if store.database.driver.name == "postgresql":
            assert "job" in inspector.get_table_names("shop")
            assert inspector.get_table_names() == []
            assert "schema shop" in store.description
        else:
            assert all(name.startswith("shop_") for name in inspector.get_table_names())


def test_the_longest_name_leaves_room_for_the_tables(empty_url: str, open_store: OpenStore) -> None:
    stores = [open_store(empty_url, schema=f"{'x' * 47}{last}") for last in "ab"]
    for store in stores:
        store.prepare()
        assert works(store)
    assert row_count(stores[0], stores[0].database.tables.job) == 1


# -- rights


@pytest.fixture
def limited(private_postgres: Cluster) -> Any:
    """Runs statements as the database's owner, and gives the URL of a role with few rights."""
    url = private_postgres.create_database()
    name = sa.make_url(url).database or ""
    private_postgres.execute("CREATE ROLE limited LOGIN")
    private_postgres.execute(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
    private_postgres.execute(f'GRANT CONNECT ON DATABASE "{name}" TO limited')

    def execute(statement: str) -> None:
        private_postgres.execute(statement, database=name)

    return execute, sa.make_url(url).set(username="limited").render_as_string()


def test_a_role_that_may_create_no_schema_uses_one_that_is_there(
    limited: Any, open_store: OpenStore
) -> None:
    execute, url = limited
    with pytest.raises(StoreUnusable, match="permission denied"):
        open_store(url).prepare()
    execute("CREATE SCHEMA flask_recurring AUTHORIZATION limited")
    store = open_store(url)
    store.prepare()
    assert works(store)
    assert stamps(store) == [(NEWEST, "created")]


def test_a_role_that_may_only_read_and_write_finds_nothing_to_do(
    limited: Any, open_store: OpenStore, private_postgres: Cluster
) -> None:
    execute, url = limited
    owner = open_store(sa.make_url(url).set(username="postgres").render_as_string())
    owner.prepare()
    execute("GRANT USAGE ON SCHEMA flask_recurring TO limited")
    execute("GRANT ALL ON ALL TABLES IN SCHEMA flask_recurring TO limited")
    execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA flask_recurring TO limited")
    store = open_store(url)
    store.prepare()
    assert works(store)
    assert store.jobs.insert_many([new_job(), new_job(key="k")])
    # Whether another role's server lives can't be seen in full, and then it counts as alive.
    worker, stranger = Worker(owner), Worker(store)
    fail(owner, owner.database.tables.server.c.overdue_at, 60)
    for one, other in ((worker, stranger), (stranger, worker)):
        others = one.store.servers.others(one.connection, one.id, Lease())
        assert other.id not in others.dead
    worker.close()
    stranger.close()


def test_the_same_engine_may_be_somebody_elses(empty_url: str) -> None:
    """As Flask-SQLAlchemy's: in transactions of its own, with its own way to begin them."""
    engine = create_engine(empty_url)
    database = Database(engine)
    store = Store(database)
    store.prepare()
    with engine.begin() as connection:
        job = store.jobs.write(connection, new_job())
    assert store.jobs.get(job.id) == job
    with engine.connect() as connection:
        assert connection.get_isolation_level() != "AUTOCOMMIT"
    database.close()
    engine.dispose()


# -- each version

VERSION_3 = {"server": ["overdue_at", "lease_ends_at"]}
"""The columns that it brings, by their tables."""


def drop(connection: sa.Connection, store: Store, columns: dict[str, list[str]]) -> None:
    """Take columns away, as they were not there in an older version."""
    for table, names in columns.items():
        for name in names:
            connection.exec_driver_sql(
                f"ALTER TABLE {store.database.tables.name(table)} DROP COLUMN {name}"
            )


def test_a_database_of_the_first_version_keeps_its_consoles(
    empty: Store, open_store: OpenStore
) -> None:
    migrate(empty.database, ())
    console = empty.database.tables.name("console")
    with empty.database.connect() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {console} DROP COLUMN more")
        drop(connection, empty, VERSION_3)
        at = "now()" if empty.database.driver.name == "postgresql" else "0"
        connection.exec_driver_sql(
            f"INSERT INTO {console} (job_id, claim, seq, at, text, color, level, progress)"
            f" VALUES (1, 1, 1, {at}, 'an old line', 'red', 'INFO', NULL),"
            f" (1, 1, 2, {at}, 'an old bar', NULL, NULL, 50)"
        )
    store = open_store(empty.database.engine.url.render_as_string(hide_password=False))
    store.prepare()
    assert stamps(store)[:2] == [(1, "created"), (2, "several console lines in a row")]
    [line] = store.console.lines(1, 1)
    assert (line.text, line.color, line.level) == ("an old line", "red", "INFO")
    assert [bar.name for bar in store.console.bars(1, 1)] == ["an old bar"]
    worker = Worker(store)
    lines = [NewLine(time.monotonic(), text, None, None) for text in ("new", "newer")]
    worker.complete(entries=[lines_row(1, 1, 3, lines)])
    worker.close()
    assert [line.text for line in store.console.lines(1, 1)] == ["an old line", "new", "newer"]


def test_a_database_of_the_second_version_keeps_its_servers(
    empty: Store, open_store: OpenStore
) -> None:
    migrate(empty.database, [step for step in MIGRATIONS if step.version <= 2])
    worker = Worker(empty)
    with empty.database.connect() as connection:
        drop(connection, empty, VERSION_3)
    store = open_store(empty.database.engine.url.render_as_string(hide_password=False))
    store.prepare()
    assert stamps(store) == [(2, "created"), (3, MIGRATIONS[-1].name)]
    newer = Worker(store)
    # One that says nothing of how long it may be silent is judged by whoever asks.
    assert store.servers.others(newer.connection, newer.id, Lease()).live == 1
    assert [server.silent for server in store.servers.live()] == [False, False]
    assert works(store)
    for one in (worker, newer):
        one.close()
