"""``flask recurring …``, command by command."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_recurring import JobState, Scheduler
from flask_recurring._flask.cli import commands
from tests.applications import Applications, job_of, store_of, wait_for_job

YEARLY = "0 0 1 1 *"


class Shop:
    """An application, and its commands as somebody at a terminal gives them."""

    def __init__(self, apps: Applications, url: str | None, **options: Any) -> None:
        self.scheduler = Scheduler()
        self.add = self.scheduler.task("add", queue="sums")(add)
        self.fail = self.scheduler.task("fail", retry=0)(fail)
        self.scheduler.recurring("nightly", YEARLY, args=[1], timezone="Europe/Berlin")(self.add)
        self.app: Flask = apps.make(self.scheduler, url, **options)

    def run(self, *arguments: str) -> Result:
        return self.app.test_cli_runner().invoke(args=["recurring", *arguments])

    def says(self, *arguments: str) -> str:
        """The output of a command that must succeed."""
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.output

    def json(self, *arguments: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.says(*arguments, "--json"))
        return rows

    def complains(self, *arguments: str) -> str:
        """The one line with which a command fails."""
        result = self.run(*arguments)
        assert result.exit_code == 1, result.output
        (line,) = result.output.splitlines()
        assert line.startswith("Error: ")
        return line

    @property
    def audit(self) -> list[tuple[str, str]]:
        """What the audit trail says, oldest first."""
        database = store_of(self.app).database
        table = database.tables.audit
        with database.connect() as connection:
            rows = connection.execute(table.select().order_by(table.c.id)).all()
        assert all(row.actor.endswith("command line)") for row in rows)
        return [(row.action, row.target) for row in rows]


def add(left: int, right: int = 1) -> int:
    return left + right


def fail() -> None:
    raise ValueError("no\nsecond line")


@pytest.fixture
def shop(apps: Applications, sqlite_url: str) -> Shop:
    return Shop(apps, sqlite_url)


@pytest.fixture
def any_shop(apps: Applications, database_url: str) -> Shop:
    """One for each kind of database."""
    return Shop(apps, database_url)


@pytest.mark.parametrize("command", sorted(commands.commands))
def test_every_command_has_help(apps: Applications, sqlite_url: str, command: str) -> None:
    shop = Shop(apps, sqlite_url)

    text = shop.says(command, "--help")

    assert text.startswith(f"Usage: {shop.app.name} recurring {command}") or "Usage:" in text
    assert "\n\n  " in text, "it says in words what it does"
    assert command in shop.says("--help")


def test_all_commands_are_there() -> None:
    assert set(commands.commands) == {
        *("worker", "init-db", "list", "trigger", "pause", "resume"),
        *("jobs", "requeue", "delete", "purge", "servers"),
    }


def test_init_db_makes_the_tables_and_writes_the_jobs(any_shop: Shop) -> None:
    for _ in range(2):
        line = any_shop.says("init-db")
        assert line.startswith(("Ready: PostgreSQL", "Ready: SQLite"))

    assert [job.id for job in store_of(any_shop.app).recurring.all()] == ["nightly"]


def test_list_shows_the_recurring_jobs(shop: Shop) -> None:
    text = shop.says("list")
    (row,) = shop.json("list")

    assert text.splitlines()[0].split() == ["ID", "CRON", "ZONE", "NEXT", "LAST", "TASK"]
    assert text.splitlines()[1].startswith("nightly  0 0 1 1 *  Europe/Berlin  20")
    assert (row["id"], row["cron"], row["args"]) == ("nightly", YEARLY, [1])
    assert row["next_at"].endswith("+00:00")
    assert row["paused"] is False


def test_trigger_enqueues_a_job(shop: Shop) -> None:
    assert shop.says("trigger", "nightly") == "Enqueued job 1.\n"

    job = job_of(shop.app, 1)
    assert (job.recurring_id, job.args, job.state) == ("nightly", (1,), JobState.ENQUEUED)
    assert shop.audit == [("recurring.trigger", "nightly")]


def test_pause_and_resume(shop: Shop) -> None:
    assert shop.says("pause", "nightly") == "Paused nightly.\n"
    assert " paused " in shop.says("list")
    assert shop.json("list")[0]["paused"] is True

    assert shop.says("resume", "nightly") == "Resumed nightly.\n"
    assert shop.json("list")[0]["paused"] is False
    assert shop.audit == [("recurring.pause", "nightly"), ("recurring.resume", "nightly")]


@pytest.mark.parametrize("command", ["trigger", "pause", "resume"])
def test_unknown_recurring_job_is_told_on_one_line(shop: Shop, command: str) -> None:
    assert shop.complains(command, "nope") == "Error: there is no recurring job with the id 'nope'"
    assert shop.audit == []


def test_jobs_are_listed_and_filtered(any_shop: Shop, apps: Applications) -> None:
    shop = any_shop
    assert shop.json("jobs") == []
    assert shop.says("jobs").split() == [
        *("ID", "STATE", "TASK", "QUEUE", "CREATED", "ATTEMPT", "ERROR"),
    ]
    apps.start(shop.app)
    done, failed = shop.add.enqueue(1), shop.fail.enqueue()
    waiting = shop.add.schedule(timedelta(hours=1), 2)
    for job in (done, failed):
        wait_for_job(shop.app, job)

    def ids(*arguments: str) -> list[int]:
        return [row["id"] for row in shop.json("jobs", *arguments)]

    assert ids() == [waiting.id, failed.id, done.id]
    assert ids("--limit", "1") == [waiting.id]
    assert ids("--state", "failed") == [failed.id]
    assert ids("--state", "Scheduled") == [waiting.id]
    assert ids("--queue", "sums") == [waiting.id, done.id]
    assert ids("--task", "fail") == [failed.id]
    assert ids("--queue", "nope") == []
    (row,) = shop.json("jobs", "--state", "Succeeded")
    assert (row["state"], row["result"], row["args"]) == ("Succeeded", 2, [1])
    table = shop.says("jobs").splitlines()
    assert len(table) == 4, "an error takes no line of its own"
    assert table[2].endswith("ValueError: no")


def test_error_of_a_job_commands_no_terminal(shop: Shop, apps: Applications) -> None:
    @shop.scheduler.task("trick", retry=0)
    def trick() -> None:
        raise ValueError("\x1b]0;title\x07no\tproblem \x9b2J \u202egnp.exe")

    apps.start(shop.app)
    job = wait_for_job(shop.app, trick.enqueue())

    (line,) = [line for line in shop.says("jobs").splitlines() if "trick" in line]
    assert line.endswith(r"ValueError: \x1b]0;title\x07no\tproblem \x9b2J \u202egnp.exe")
    assert json.dumps(job.error) in shop.says("jobs", "--json")


def test_requeue_and_delete(shop: Shop) -> None:
    job = shop.add.schedule(timedelta(hours=1), 1)

    assert shop.says("requeue", str(job.id)) == f"Requeued job {job.id}.\n"
    assert job_of(shop.app, job).state is JobState.ENQUEUED
    assert shop.says("delete", str(job.id)) == f"Deleted job {job.id}.\n"
    assert job_of(shop.app, job).state is JobState.DELETED
    assert shop.audit == [("job.requeue", str(job.id)), ("job.delete", str(job.id))]

    assert "is deleted already" in shop.complains("delete", str(job.id))
    shop.says("requeue", str(job.id))
    assert "is waiting or running already" in shop.complains("requeue", str(job.id))


@pytest.mark.parametrize("command", ["requeue", "delete"])
@pytest.mark.parametrize("id", ["99", "0", "9223372036854775808", "1" + "0" * 40])
def test_job_that_is_not_there_is_told_on_one_line(any_shop: Shop, command: str, id: str) -> None:
    assert any_shop.complains(command, id).startswith(f"Error: job {id} does not exist")


@pytest.mark.parametrize(
    "arguments",
    [
        ("requeue", "five"),
        ("requeue",),
        ("jobs", "--state", "gone"),
        ("jobs", "--limit", "0"),
        ("purge", "--older-than", "-1"),
        ("purge", "--state", "Enqueued"),
        ("nonsense",),
    ],
)
def test_wrong_use_ends_with_usage(shop: Shop, arguments: tuple[str, ...]) -> None:
    result = shop.run(*arguments)

    assert result.exit_code == 2
    assert "Usage:" in result.output
    assert "Error: " in result.output


def test_purge_deletes_finished_jobs(shop: Shop, apps: Applications) -> None:
    apps.start(shop.app)
    done, failed = shop.add.enqueue(1), shop.fail.enqueue()
    for job in (done, failed):
        wait_for_job(shop.app, job)

    assert shop.says("purge") == "Deleted 0 jobs.\n"
    assert shop.says("purge", "--older-than", "0", "--state", "failed") == "Deleted 1 jobs.\n"
    assert [row["id"] for row in shop.json("jobs")] == [done.id]
    assert shop.says("purge", "--older-than", "0") == "Deleted 1 jobs.\n"
    assert shop.audit == [("jobs.purge", "1 jobs")] * 2  # what did nothing is no act


def test_servers_are_listed(shop: Shop, apps: Applications) -> None:
    assert shop.json("servers") == []
    server = apps.start(shop.app)

    (row,) = shop.json("servers")
    assert (row["name"], row["application"], row["threads"]) == (server.name, "shop", 4)
    assert (row["queues"], row["silent"]) == (["*"], False)
    line = shop.says("servers").splitlines()[1]
    assert f"{server.name}  shop" in line
    assert " 0/4 " in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("init-db",),
        ("list",),
        ("trigger", "x"),
        ("jobs",),
        ("requeue", "1"),
        ("servers",),
        ("purge",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_database_that_is_down_is_told_on_one_line(
    apps: Applications, arguments: tuple[str, ...]
) -> None:
    shop = Shop(apps, "postgresql://shop:secret@127.0.0.1:1/shop")

    line = shop.complains(*arguments)

    assert line.startswith("Error: the job database can't be reached: ")
    assert "secret" not in line


def test_worker_on_a_database_in_memory_is_refused(apps: Applications) -> None:
    shop = Shop(apps, None, db=SQLAlchemy(), config={"SQLALCHEMY_DATABASE_URI": "sqlite://"})

    assert "in-memory SQLite" in shop.complains("worker")
