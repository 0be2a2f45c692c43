"""Databases and roles as one finds them: with other encodings, settings and rights than ours have.

On each of them jobs run, or what is said is true.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_recurring import (
    AllowAll,
    ArgumentError,
    ConfigurationError,
    JobContext,
    JobState,
    Scheduler,
    StoreUnusable,
)
from flask_recurring._store import NewJob
from tests.applications import (
    Applications,
    binding_of,
    lines_of,
    servers_ever,
    store_of,
    wait_for_all,
    wait_for_job,
)
from tests.chaos.pgbouncer import PgBouncer
from tests.postgres import Cluster, Server
from tests.waiting import wait_for

EURO = "10 €, 😀, größer, ć"
"""Of this, LATIN1 holds only the ö and the ß."""

DEPLOYMENT = Path(__file__).parents[1] / "docs" / "deployment.md"

SETTINGS: dict[str, dict[str, str]] = {
    "DateStyle": {"DateStyle": "SQL, DMY"},
    "German dates": {"DateStyle": "German, DMY", "TimeZone": "Asia/Kathmandu"},
    "IntervalStyle": {"IntervalStyle": "sql_standard"},
    "TimeZone": {"TimeZone": "<-03:15>03:15"},
    "bytea_output": {"bytea_output": "escape"},
    "serializable": {"default_transaction_isolation": "serializable"},
    "deferrable": {
        "default_transaction_isolation": "repeatable read",
        "default_transaction_deferrable": "on",
    },
    "strings": {
        "standard_conforming_strings": "off",
        "array_nulls": "off",
        "extra_float_digits": "-5",
    },
    "client_encoding": {"client_encoding": "LATIN1"},
    "all at once": {
        "DateStyle": "Postgres, DMY",
        "IntervalStyle": "iso_8601",
        "TimeZone": "Pacific/Chatham",
        "bytea_output": "escape",
        "default_transaction_isolation": "serializable",
        "client_encoding": "WIN1252",
    },
}


class Shop:
    """An application with its own connections, or with those of Flask-SQLAlchemy."""

    def __init__(self, apps: Applications, url: str, *, shared: bool) -> None:
        self.scheduler = Scheduler()
        self.db = SQLAlchemy() if shared else None

        @self.scheduler.task("echo", retry=0)
        def echo(context: JobContext, text: str, when: datetime, fails: bool = False) -> str:
            context.write_line(text)
            context.write_line(text)
            context.progress_bar(text).set(50)
            if fails:
                raise ValueError(text)
            return text

        self.echo = echo
        self.scheduler.recurring("nightly", "0 0 1 1 *", args=[EURO, MOMENT])(echo)
        place: dict[str, Any] = {"config": {"SQLALCHEMY_DATABASE_URI": url}, "db": self.db}
        self.app: Flask = apps.make(
            self.scheduler,
            None if shared else url,
            dashboard_authorization=[AllowAll()],
            **(place if shared else {}),
        )


MOMENT = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)


def use(shop: Shop, apps: Applications) -> None:
    """Do everything once, with text of all kinds, and see that it works."""
    apps.start(shop.app)
    store = store_of(shop.app)
    now = store.now()
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=5)
    with shop.app.app_context():
        one = shop.echo.enqueue(EURO, MOMENT)
        assert one.args == (EURO, MOMENT.isoformat().replace("+00:00", "Z"))
        assert abs(one.created_at - now) < timedelta(minutes=1)
        later = shop.echo.schedule(timedelta(days=400), EURO, MOMENT)
        assert later.run_at - later.created_at == timedelta(days=400)
        many = shop.scheduler.enqueue_many([shop.echo.call(EURO, MOMENT) for _ in range(3)])
        keyed = shop.echo.options(key="once").enqueue(EURO, MOMENT)
        triggered = shop.scheduler.trigger("nightly")
        jobs = [one.id, *many, keyed.id, triggered.id]
        if shop.db is not None:
            jobs.append(shop.echo.options(session=shop.db.session).enqueue(EURO, MOMENT).id)
            shop.db.session.commit()
        failing = shop.echo.enqueue(EURO, MOMENT, fails=True)

        for job in wait_for_all(shop.app, jobs):
            assert (job.state, job.result) == (JobState.SUCCEEDED, EURO)
            assert abs(job.created_at - now) < timedelta(minutes=1)
            assert job.finished_at is not None
            assert abs(job.finished_at - job.created_at) < timedelta(minutes=1)
            first, second = lines_of(shop.app, job)
            assert first in (EURO, escaped(EURO)), first
            assert second in (EURO, escaped(EURO))
        assert wait_for_job(shop.app, failing).error in (
            f"ValueError: {EURO}",
            f"ValueError: {escaped(EURO)}",
        )
        recurring = shop.scheduler.get_recurring("nightly")
        assert recurring is not None
        assert recurring.next_at is not None
        assert recurring.next_at > now
        assert (recurring.next_at.month, recurring.next_at.day) == (1, 1)
    client = shop.app.test_client()
    for path in ("/", "/recurring", "/jobs/succeeded", f"/jobs/details/{failing.id}", "/servers"):
        assert client.get(f"/hangfire{path}").status_code == 200, path
    assert servers_ever(shop.app) == 1


def escaped(text: str) -> str:
    """The text as a database in LATIN1 holds it."""
    return "".join(
        one if one.encode("latin-1", "ignore") else json.dumps(one).strip('"') for one in text
    )


# -- settings


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_the_database_change_nothing(
    apps: Applications,
    postgres: Server,
    postgres_url: str,
    name: str,
    shared: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = sa.make_url(postgres_url).database
    for setting, value in SETTINGS[name].items():
        postgres.execute(f"ALTER DATABASE \"{database}\" SET {setting} = '{value}'")

    use(Shop(apps, postgres_url, shared=shared), apps)

    assert "Trying again" not in caplog.text


def test_key_that_is_being_taken_in_a_serializable_database(
    apps: Applications, postgres: Server, postgres_url: str
) -> None:
    database = sa.make_url(postgres_url).database
    postgres.execute(
        f"ALTER DATABASE \"{database}\" SET default_transaction_isolation = 'serializable'"
    )
    shop = Shop(apps, postgres_url, shared=True)
    store = store_of(shop.app)
    found: list[int] = []

    def enqueue() -> None:
        with shop.app.app_context():
            found.append(shop.echo.options(key="one").enqueue("x", MOMENT).id)

    with shop.app.app_context(), store.database.begin() as connection:
        other = NewJob("echo", '[["x"],{}]', key="one")
        first = store.jobs.write(connection, other).id
        thread = threading.Thread(target=enqueue)
        thread.start()
        wait_for(
            lambda: postgres.execute(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s",
                [database],
            )
        )
    thread.join(10)
    assert found == [first]


@pytest.mark.processes
def test_settings_behind_a_pooler(
    apps: Applications,
    postgres: Server,
    postgres_url: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where a session belongs to whoever comes next, so that hardly any of it can be set."""
    database = sa.make_url(postgres_url).database
    for setting, value in (SETTINGS["German dates"] | SETTINGS["client_encoding"]).items():
        postgres.execute(f"ALTER DATABASE \"{database}\" SET {setting} = '{value}'")
    with PgBouncer(postgres_url, tmp_path) as pooler:
        wait_for(lambda: listens(pooler.port))
        shop = Shop(apps, pooler.url, shared=False)
        use(shop, apps)
        assert "Trying again" not in caplog.text
        binding_of(shop.app).stop_server()
        store_of(shop.app).database.bare_engine.dispose()


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


# -- encodings


@pytest.fixture
def encoded(postgres: Server) -> Iterator[Callable[[str], str]]:
    """``encoded("LATIN1")`` gives the URL of a new database in this encoding."""
    urls = []

    def create(encoding: str) -> str:
        name = f"recurring_test_{encoding.lower()}"
        postgres.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
            " TEMPLATE template0"
        )
        urls.append(postgres.url(name))
        return urls[-1]

    yield create
    for url in urls:
        postgres.drop_database(url)


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_database_in_latin1(
    encoded: Callable[[str], str], apps: Applications, shared: bool
) -> None:
    shop = Shop(apps, encoded("LATIN1"), shared=shared)
    use(shop, apps)
    with shop.app.app_context():
        with pytest.raises(ArgumentError, match=r"key 'k€y'.*encoding is iso8859-1.*no '€'"):
            shop.echo.options(key="k€y").enqueue("x", MOMENT)
        with pytest.raises(ConfigurationError, match=r"id 'ni€htly'"):
            shop.scheduler.add_or_update("ni€htly", shop.echo, "@daily", args=["x", MOMENT])
        assert shop.echo.options(key="ö").enqueue("x", MOMENT).id
        assert shop.scheduler.list_recurring()[0].kwargs == {}


def test_database_without_an_encoding_is_refused(
    encoded: Callable[[str], str], apps: Applications, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(apps, encoded("SQL_ASCII"), shared=False)
    with (
        shop.app.app_context(),
        pytest.raises(StoreUnusable, match=r"'recurring_test_sql_ascii'.*SQL_ASCII.*UTF8"),
    ):
        shop.echo.enqueue("x", MOMENT)
    server = binding_of(shop.app).start_server()
    wait_for(lambda: "has the encoding SQL_ASCII" in caplog.text)
    assert not server.ready.is_set()
    assert shop.app.test_client().get("/hangfire/").status_code == 503


# -- rights


def test_role_with_the_documented_rights_and_no_more(
    apps: Applications, private_postgres: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    owner_url = private_postgres.create_database()
    database = sa.make_url(owner_url).database or ""
    grants = re.search(r"```sql\n(GRANT USAGE ON SCHEMA.*?)```", DEPLOYMENT.read_text(), re.S)
    assert grants is not None
    private_postgres.execute("CREATE ROLE app LOGIN")
    private_postgres.execute("CREATE ROLE owner LOGIN")
    private_postgres.execute(f'ALTER DATABASE "{database}" OWNER TO owner')
    url = sa.make_url(owner_url).set(username="app").render_as_string()
    owner = sa.make_url(owner_url).set(username="owner").render_as_string()

    shop = Shop(apps, url, shared=True)
    with shop.app.app_context(), pytest.raises(StoreUnusable, match=r"may not.*Rights"):
        shop.echo.enqueue("x", MOMENT)

    done = (
        Shop(apps, owner, shared=False).app.test_cli_runner().invoke(args=["recurring", "init-db"])
    )
    assert done.exit_code == 0, done.output
    with shop.app.app_context(), pytest.raises(StoreUnusable, match="permission denied"):
        shop.echo.enqueue("x", MOMENT)
    for statement in grants[1].split(";"):
        if statement.strip():
            private_postgres.execute(statement, database=database)
    use(shop, apps)
    assert "Trying again" not in caplog.text
