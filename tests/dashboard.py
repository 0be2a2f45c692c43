"""An application with a dashboard, and rows put straight into its tables, for the pages to show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from flask_recurring import AllowAll, JobState, Scheduler
from flask_recurring._dashboard.figures import shared
from flask_recurring._store import APPLICATION, Store

HTMX = {"HX-Request": "true"}
"""What htmx sends with each request."""


class Shop:
    """An application whose dashboard everybody may operate, unless the configuration says else."""

    def __init__(self, database_url: str, **config: Any) -> None:
        self.scheduler = Scheduler()

        @self.scheduler.task("shop.mail", queue="mail")
        def mail(address: str, copies: int = 1) -> None: ...

        @self.scheduler.recurring(
            "nightly", "0 3 * * *", timezone="Europe/Vienna", name="shop.tidy"
        )
        def tidy() -> None: ...

        self.app = Flask("shop")
        self.app.config.update(
            TESTING=True,
            RECURRING_DATABASE_URL=database_url,
            RECURRING_WORKER_ENABLED=False,
            RECURRING_DASHBOARD_AUTHORIZATION=[AllowAll()],
        )
        self.app.config.update(config)
        self.scheduler.init_app(self.app)
        self.client: FlaskClient = self.app.test_client()

    @property
    def store(self) -> Store:
        return self.scheduler.binding.ready_store()

    def close(self) -> None:
        database = self.scheduler.binding.store.database
        database.close()
        database.bare_engine.dispose()

    def recurring(self, id: str, cron: str = "0 3 * * *", **options: Any) -> None:
        """A recurring job that was declared at run time."""
        with self.app.app_context():
            self.scheduler.add_or_update(id, "shop.tidy", cron, **options)
        self.changed()

    def job(self, state: JobState = JobState.ENQUEUED, *, ago: float = 0.0, **values: Any) -> int:
        """A job in a state, whose last change was ``ago`` seconds ago."""
        moment = self.store.now() - timedelta(seconds=ago)
        row: dict[str, Any] = {
            "task": "shop.mail",
            "queue": "mail",
            "priority": 0,
            "state": state.value,
            "created_at": moment,
            "run_at": moment,
            "arguments": json.dumps([values.pop("args", []), values.pop("kwargs", {})]),
        }
        if state is JobState.SCHEDULED:
            row |= {"state": "Enqueued", "run_at": moment + timedelta(hours=1)}
        if state is JobState.PROCESSING:
            server = values.pop("server_id", None) or self.server()
            row |= {"started_at": moment, "attempt": 1, "claim": 1, "server_id": server}
        if state.finished:
            row |= {"started_at": moment, "finished_at": moment, "attempt": 1, "claim": 1}
        return int(self._insert("job", row | values))

    def attempt(self, job_id: int, *, ago: float = 0.0, **values: Any) -> None:
        """A run of a job that failed."""
        moment = self.store.now() - timedelta(seconds=ago)
        row = {
            "job_id": job_id,
            "claim": 1,
            "attempt": 1,
            "outcome": "Failed",
            "started_at": moment,
            "finished_at": moment,
            "error_type": "ValueError",
            "message": "no such address",
            "traceback": "Traceback (most recent call last):\nValueError: no such address",
        }
        self._insert("attempt", row | values, returning=False)

    def line(self, job_id: int, seq: int, text: str, **values: Any) -> None:
        """A console line; with ``progress`` it is a bar."""
        row = {"job_id": job_id, "claim": 1, "seq": seq, "at": self.store.now(), "text": text}
        self._insert("console", row | values, returning=False)

    def tick(self, id: str, outcome: str = "run", *, ago: float = 0.0, **values: Any) -> None:
        """An entry of a recurring job's history, of a time ``ago`` seconds ago."""
        moment = self.store.now() - timedelta(seconds=ago)
        row = {
            "recurring_id": id,
            "due": None if outcome == "triggered" else moment,
            "outcome": outcome,
            "reason": None,
            "job_id": None,
            "created_at": moment,
        }
        self._insert("tick", row | values)

    def run(self, id: str, seconds: float = 1.0, *, ago: float, late: float = 0.0) -> int:
        """A run of a recurring job that succeeded, with its tick."""
        due = self.store.now() - timedelta(seconds=ago)
        start = due + timedelta(seconds=late)
        end = start + timedelta(seconds=seconds)
        job = self.job(
            JobState.SUCCEEDED, recurring_id=id, started_at=start, finished_at=end, due=due
        )
        self.tick(id, ago=ago, due=due, job_id=job)
        return job

    def server(self, **values: Any) -> int:
        """A live server."""
        moment = self.store.now()
        row = {
            "name": "web-1",
            "host": "example",
            "pid": 42,
            "application": "shop",
            "version": "0",
            "threads": 10,
            "busy": 3,
            "queues": '["mail", "*"]',
            "started_at": moment,
            "beat_at": moment,
        }
        return int(self._insert("server", row | values))

    def change(self, job_id: int, **values: Any) -> None:
        """Write to a job's row."""
        table = self.store.database.tables.job
        with self.store.database.begin() as connection:
            connection.execute(sa.update(table).where(table.c.id == job_id).values(**values))
        self.changed()

    def _insert(self, name: str, row: dict[str, Any], *, returning: bool = True) -> Any:
        table: sa.Table = getattr(self.store.database.tables, name)
        with self.store.database.begin() as connection:
            statement = sa.insert(table).values(**row)
            if returning:
                statement = statement.returning(table.c.id)
            found = connection.execute(statement)
            id = found.scalar_one() if returning else None
        self.changed()
        return id

    def changed(self) -> None:
        """Let pages show at once what was not done by one of them."""
        shared(self.app).forget()

    def fragment(self, path: str, **headers: str) -> Any:
        """Ask as htmx does."""
        return self.client.get(path, headers=HTMX | headers)

    def audit(self) -> list[tuple[str, str, str]]:
        """Actor, action and target of what operators did, oldest first."""
        found = reversed(self.store.audit.newest())
        return [(e.actor, e.action, e.target) for e in found if e.actor != APPLICATION]


@contextmanager
def open_shop(database_url: str, **config: Any) -> Iterator[Shop]:
    """A shop, whose connections are closed afterwards."""
    shop = Shop(database_url, **config)
    try:
        yield shop
    finally:
        shop.close()
