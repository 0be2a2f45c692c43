from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.engine import URL

from flask_recurring._dashboard.access import AllowAll
from flask_recurring._flask.settings import Settings, default_workers
from flask_recurring.errors import ConfigurationError

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"


def connect() -> None: ...


def hook(request: object) -> bool:
    return True


def read(name: str, value: Any) -> Any:
    settings = Settings.from_config({f"RECURRING_{name.upper()}": value})
    return getattr(settings, name)


def test_nothing_configured_gives_the_defaults() -> None:
    assert Settings.from_config({}) == Settings()


def test_only_its_own_keys_are_read() -> None:
    config: dict[Any, Any] = {"DEBUG": True, "SQLALCHEMY_DATABASE_URI": "x", "recurring_x": 1, 5: 6}
    assert Settings.from_config(config) == Settings()
    assert Settings.from_config(Flask("app").config) == Settings()


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("bind_key", "jobs", "jobs"),
        ("bind_key", None, None),
        ("connection_factory", connect, connect),
        ("schema", "jobs_2", "jobs_2"),
        ("schema", "_" + "x" * 47, "_" + "x" * 47),
        ("worker_enabled", False, False),
        ("worker_enabled", 0, False),
        ("worker_enabled", " Off ", False),
        ("worker_enabled", "no", False),
        ("worker_enabled", "false", False),
        ("worker_enabled", "0", False),
        ("worker_enabled", 1, True),
        ("worker_enabled", "YES", True),
        ("workers", 1, 1),
        ("workers", 1000, 1000),
        ("workers", "8", 8),
        ("queues", "mail,default", ("mail", "default")),
        ("queues", " mail , * ", ("mail", "*")),
        ("queues", ["mail", "*"], ("mail", "*")),
        ("queues", ("mail",), ("mail",)),
        ("queues", 1, ("1",)),
        ("server_name", "web-1", "web-1"),
        ("server_name", 3, "3"),
        ("server_name", None, None),
        ("poll_interval", 2, 2.0),
        ("poll_interval", "0.5", 0.5),
        ("poll_interval", timedelta(milliseconds=250), 0.25),
        ("shutdown_timeout", 0, 0.0),
        ("shutdown_timeout", timedelta(minutes=1), 60.0),
        ("server_timeout", 86_400, 86_400.0),
        ("console_max_lines", 1, 1),
        ("retention_failed", None, None),
        ("retention_failed", "never", None),
        ("retention_failed", " Never ", None),
        ("retention_failed", 3600, timedelta(hours=1)),
        ("retention_failed", 0.5, timedelta(milliseconds=500)),
        ("retention_failed", "3600", timedelta(hours=1)),
        ("retention_failed", timedelta(days=36_500), timedelta(days=36_500)),
        ("dashboard_url_prefix", "/admin/jobs", "/admin/jobs"),
        ("dashboard_url_prefix", "/a.b_c~d-e", "/a.b_c~d-e"),
        ("dashboard_authorization", [], ()),
        ("dashboard_authorization", hook, (hook,)),
        ("dashboard_authorization", [hook, connect], (hook, connect)),
        ("dashboard_title", "Jobs – today", "Jobs – today"),
        ("dashboard_title", 2024, "2024"),
        ("dashboard_back_url", "/shop?x=1", "/shop?x=1"),
        ("dashboard_back_url", "https://shop.example", "https://shop.example"),
        ("dashboard_page_size", 10, 10),
    ],
)
def test_what_is_right(name: str, given: Any, expected: Any) -> None:
    found = read(name, given)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "given", "right"),
    [
        ("bind_key", "", "text of 1 to 200 printable characters"),
        ("bind_key", 1.5, "text of 1 to 200"),
        ("connection_factory", "connect", "something to call, without arguments"),
        ("schema", "Jobs", "1 to 48 of the characters a-z, 0-9 and _"),
        ("schema", "1jobs", "not beginning with a digit"),
        ("schema", "x" * 49, "1 to 48 of"),
        ("schema", "jobs\n", "1 to 48 of"),
        ("schema", 'a"; drop', "1 to 48 of"),
        ("schema", "", "1 to 48 of"),
        ("schema", "pg_jobs", "not beginning with a digit, pg_ or sqlite_"),
        ("schema", None, "1 to 48 of"),
        ("worker_enabled", None, "True or False"),
        ("worker_enabled", 2, "True or False"),
        ("worker_enabled", 1.0, "True or False"),
        ("worker_enabled", "maybe", "True or False"),
        ("worker_enabled", "", "True or False"),
        ("workers", 0, "a whole number from 1 to 1,000"),
        ("workers", 1001, "a whole number from 1 to 1,000"),
        ("workers", True, "a whole number"),
        ("workers", 2.0, "a whole number"),
        ("workers", "two", "a whole number"),
        ("workers", "9" * 5000, "a whole number"),
        ("workers", None, "a whole number"),
        ("queues", "", "one or more different queues"),
        ("queues", [], "one or more different queues"),
        ("queues", "mail,,default", "one or more different queues"),
        ("queues", "mail,mail", "one or more different queues"),
        ("queues", ["*", "*"], "one or more different queues"),
        ("queues", ["Mail"], "a name is 1 to 64"),
        ("queues", [1], "a name is 1 to 64"),
        ("queues", [["mail"]], "a name is 1 to 64"),
        ("queues", {"mail"}, "one or more different queues in order"),
        ("queues", None, "one or more different queues"),
        ("server_name", "", "text of 1 to 200"),
        ("server_name", "a\nb", "text of 1 to 200"),
        ("poll_interval", 0, "a number of seconds or a timedelta, above 0 and up to 1 hour"),
        ("poll_interval", -1, "a number of seconds"),
        ("poll_interval", 3601, "a number of seconds"),
        ("poll_interval", float("nan"), "a number of seconds"),
        ("poll_interval", "nan", "a number of seconds"),
        ("poll_interval", float("inf"), "a number of seconds"),
        ("poll_interval", 10**400, "a number of seconds"),
        ("poll_interval", True, "a number of seconds"),
        ("poll_interval", "", "a number of seconds"),
        ("poll_interval", None, "a number of seconds"),
        ("shutdown_timeout", -0.1, "a number of seconds or a timedelta, from 0 to 1 day"),
        ("shutdown_timeout", timedelta(seconds=-1), "a number of seconds or a timedelta, from 0"),
        ("retention_failed", 0, "above 0 and up to 100 years"),
        ("retention_failed", timedelta(0), "above 0"),
        ("retention_failed", timedelta(days=36_501), "up to 100 years"),
        ("retention_failed", 1e300, "up to 100 years"),
        ("retention_failed", float("nan"), "above 0"),
        ("retention_failed", False, "above 0"),
        ("retention_failed", "soon", 'None (in the environment "never") keeps for ever'),
        ("console_max_bytes", 1023, "a whole number from 1,024 to"),
        ("dashboard_url_prefix", "", 'a path that begins with "/"'),
        ("dashboard_url_prefix", "/", 'is not "/" alone'),
        ("dashboard_url_prefix", "jobs", 'a path that begins with "/"'),
        ("dashboard_url_prefix", "/jobs/", "does not end in one"),
        ("dashboard_url_prefix", "//jobs", 'a path that begins with "/"'),
        ("dashboard_url_prefix", "/a/../b", 'a path that begins with "/"'),
        ("dashboard_url_prefix", "/<tenant>", "of the characters"),
        ("dashboard_url_prefix", "/a?b", "of the characters"),
        ("dashboard_url_prefix", "/a\n", "of the characters"),
        ("dashboard_authorization", None, "a list of callables"),
        ("dashboard_authorization", "app.hooks", "a list of callables"),
        ("dashboard_authorization", [hook, True], "a list of callables"),
        ("dashboard_authorization", [AllowAll], "AllowAll() rather than its class"),
        ("dashboard_title", "", "text of 1 to 200"),
        ("dashboard_back_url", "javascript:alert(1)", 'a path such as "/"'),
        ("dashboard_back_url", "//evil.example", 'a path such as "/"'),
        ("dashboard_back_url", "/\\evil.example", 'a path such as "/"'),
        ("dashboard_back_url", "", 'a path such as "/"'),
        ("dashboard_page_size", 0, "a whole number from 1 to 1,000"),
    ],
)
def test_what_is_wrong(name: str, given: Any, right: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(name, given)
    message = str(caught.value)
    assert message.startswith(f"RECURRING_{name.upper()} can't be ")
    assert right in message
    assert len(message) < 500


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_config({"RECURRING_WORKERS": 0, "RECURRING_SCHEMA": "-", "RECURRING_X": 1})
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == [
        "RECURRING_WORKERS",
        "RECURRING_SCHEMA",
        "RECURRING_X",
    ]


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("RECURRING_WORKER", "RECURRING_WORKERS"),
        ("RECURRING_QUEUE", "RECURRING_QUEUES"),
        ("RECURRING_DATABASE_URI", "RECURRING_DATABASE_URL"),
        ("RECURRING_DASHBOARD_PREFIX", "RECURRING_DASHBOARD_URL_PREFIX"),
    ],
)
def test_an_unknown_setting_names_the_nearest(key: str, near: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{key} is no setting; did you mean {near}\?$"):
        Settings.from_config({key: 1})


def test_an_unknown_setting_with_none_near() -> None:
    with pytest.raises(ConfigurationError, match=r"is no setting; those that are: RECURRING_BIND"):
        Settings.from_config({"RECURRING_ZZZ": 1})


def test_a_server_must_not_be_taken_for_dead_between_two_beats() -> None:
    config = {"RECURRING_HEARTBEAT_INTERVAL": 10, "RECURRING_SERVER_TIMEOUT": 20}
    with pytest.raises(ConfigurationError, match=r"RECURRING_SERVER_TIMEOUT can't be 20; .* is 10"):
        Settings.from_config(config)
    assert Settings.from_config(config | {"RECURRING_SERVER_TIMEOUT": 21}).server_timeout == 21


# From the environment


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FLASK_")]:
        monkeypatch.delenv(name)
    given = {
        "DATABASE_URL": "postgresql://u:p@h/d",
        "WORKER_ENABLED": "false",
        "WORKERS": "3",
        "QUEUES": "mail,default",
        "POLL_INTERVAL": "0.5",
        "RETENTION_FAILED": "never",
        "RETENTION_DELETED": "null",
        "RETENTION_SUCCEEDED": "7200",
        "DASHBOARD_ENABLED": "off",
        "DASHBOARD_TITLE": "Our jobs",
        "SERVER_NAME": "7",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"FLASK_RECURRING_{name}", value)
    app = Flask("app")
    app.config.from_prefixed_env()
    assert Settings.from_config(app.config) == Settings(
        database_url="postgresql+psycopg://u:p@h/d",
        worker_enabled=False,
        workers=3,
        queues=("mail", "default"),
        poll_interval=0.5,
        retention_failed=None,
        retention_deleted=None,
        retention_succeeded=timedelta(hours=2),
        dashboard_enabled=False,
        dashboard_title="Our jobs",
        server_name="7",
    )


def test_a_list_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_RECURRING_QUEUES", '["mail", "*"]')
    app = Flask("app")
    app.config.from_prefixed_env()
    assert Settings.from_config(app.config).queues == ("mail", "*")


# The database's address


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql+psycopg://u:p@h:5432/d"),
        ("postgres://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg2://h/d", "postgresql+psycopg://h/d"),
        ("postgresql://u:p%40%2F%3A@h/d", "postgresql+psycopg://u:p%40%2F%3A@h/d"),
        ("postgresql://h/d?sslmode=require", "postgresql+psycopg://h/d?sslmode=require"),
        (
            "postgresql:///d?host=%2Frun%2Fpg&user=u&password=p",
            "postgresql+psycopg:///d?host=%2Frun%2Fpg&password=p&user=u",
        ),
        (
            URL.create("postgresql", username="u", password="p@/", host="h", database="d"),
            "postgresql+psycopg://u:p%40%2F@h/d",
        ),
        ("sqlite:///jobs.sqlite3", "sqlite:///jobs.sqlite3"),
        ("sqlite:////var/lib/jobs.sqlite3", "sqlite:////var/lib/jobs.sqlite3"),
        ("sqlite+pysqlite:///jobs.sqlite3", "sqlite:///jobs.sqlite3"),
        (None, None),
    ],
)
def test_an_address(given: Any, expected: str | None) -> None:
    assert read("database_url", given) == expected


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("sqlite://", "in a file, not in memory"),
        ("sqlite:///", "in a file, not in memory"),
        ("sqlite:///:memory:", "in a file, not in memory"),
        ("sqlite:///file::memory:?cache=shared&uri=true", "in a file, not in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "in a file, not in memory"),
        ("sqlite://jobs.sqlite3", "after three slashes"),
        ("sqlite+aiosqlite:///x", "with Python's own driver, sqlite:///..., not sqlite+aiosqlite"),
        ("postgresql+asyncpg://u:hush@h/d", "with psycopg as its driver"),
        ("postgresql+pg8000://u:hush@h/d", "not postgresql+pg8000"),
        ("mysql://u:hush@h/d", "an address of PostgreSQL or SQLite, such as postgresql://"),
        ("mysql+pymysql://u:hush@h/d", "not mysql+pymysql"),
        ("https://u:hush@h/d", "an address of PostgreSQL or SQLite"),
        ("postgresql://u:hu@sh@h:hush/d", "an address that can be read"),
        ("postgresql://u:50hush/d", "an address that can be read"),
        ("hush", "an address that can be read"),
        ("", "an address, such as"),
        (5, "an address, such as"),
        (["postgresql://u:hush@h/d"], "an address, such as"),
        (b"postgresql://u:hush@h/d", "an address, such as"),
    ],
)
def test_a_wrong_address_is_not_repeated(given: Any, right: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read("database_url", given)
    assert str(caught.value).startswith("RECURRING_DATABASE_URL can't be what was given; it must ")
    assert right in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hush" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_an_address_under_a_wrong_name_is_not_repeated() -> None:
    for name in ("connection_factory", "schema", "workers", "dashboard_url_prefix", "queues"):
        with pytest.raises(ConfigurationError, match="can't be an address; it must be") as caught:
            read(name, "postgresql://u:hush@h/d")
        assert "hush" not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_config({"RECURRING_DATABASE": "postgresql://u:hush@h/d"})
    assert "hush" not in str(caught.value)


def test_the_representation_hides_the_address() -> None:
    settings = Settings.from_config({"RECURRING_DATABASE_URL": "postgresql://u:hush@h/d?x=hush"})
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings)


def test_an_address_and_a_factory_exclude_each_other() -> None:
    config = {
        "RECURRING_DATABASE_URL": "postgresql://u:hush@h/d",
        "RECURRING_CONNECTION_FACTORY": connect,
    }
    with pytest.raises(ConfigurationError, match="can't both be given") as caught:
        Settings.from_config(config)
    assert "hush" not in str(caught.value)
    config["RECURRING_DATABASE_URL"] = None
    assert Settings.from_config(config).connection_factory is connect


# Cores


@pytest.mark.parametrize(("cores", "workers"), [(1, 5), (2, 10), (4, 20), (64, 20)])
def test_workers_follow_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int
) -> None:
    affinity: Callable[[int], set[int]] = lambda pid: set(range(cores))  # noqa: E731
    monkeypatch.setattr(os, "sched_getaffinity", affinity, raising=False)
    assert default_workers() == workers
    assert Settings().workers == workers


def test_workers_where_the_system_tells_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert default_workers() == 15
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_workers() == 5


# The documentation


def documented() -> dict[str, tuple[str, str, str]]:
    rows = re.findall(
        r"^\| `RECURRING_([A-Z_]+)` \| (.+) \| `(.+)` \| `(.+)` \|$", PAGE.read_text(), re.MULTILINE
    )
    assert len({name for name, *_ in rows}) == len(rows)
    return {name.lower(): (meaning, default, example) for name, meaning, default, example in rows}


def test_the_page_has_every_setting_and_no_other() -> None:
    assert set(documented()) == {field.name for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_the_page_says_what_is_true(field: dataclasses.Field[Any]) -> None:
    meaning, default, example = documented()[field.name]
    assert meaning.endswith(".")
    if field.name == "workers":
        assert default == "min(5 × cores, 20)"
    else:
        found = eval(default, {"timedelta": timedelta})
        assert found == field.default
        assert type(found) is type(field.default)
    value = eval(example, {"timedelta": timedelta, "connect": connect, "AllowAll": AllowAll})
    assert read(field.name, value) != field.default
