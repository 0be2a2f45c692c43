"""The application as the benchmark's own process uses it: to enqueue, and to look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa

from flask_recurring._store import Store
from flask_recurring._store.types import now
from flask_recurring.task import Call

from .application import create_app, scheduler

QUEUE = "default"


class Client:
    """One application on a target, without a server."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.job = store.database.tables.job

    def hold(self) -> None:
        """Let servers take nothing until ``release``: they are up and idle, and the jobs wait."""
        self.store.queues.pause(QUEUE)

    def release(self) -> None:
        """Let servers take jobs; they are told."""
        self.store.queues.resume(QUEUE)

    def fill(self, calls: Iterable[Call]) -> range:
        """Enqueue the calls; returns their ids."""
        ids = scheduler.enqueue_many(calls)
        return range(ids[0], ids[-1] + 1)

    def first_open(self, ids: range) -> int | None:
        """The first of these jobs that has not come to an end that is committed."""
        job = self.job.c
        statement = (
            sa.select(job.id)
            .where(job.id.between(ids[0], ids[-1]), job.finished_at.is_(None))
            .order_by(job.id)
            .limit(1)
        )
        with self.store.database.connect() as connection:
            return connection.execute(statement).scalar_one_or_none()

    def ended(self, ids: range) -> tuple[int, datetime]:
        """How many of these jobs have ended, and at what time of the database that was so."""
        job = self.job.c
        statement = sa.select(sa.func.count(), now()).where(
            job.id.between(ids[0], ids[-1]), job.finished_at.is_not(None)
        )
        with self.store.database.connect() as connection:
            count, moment = connection.execute(statement).one()
            return count, moment

    def began(self, ids: range) -> datetime:
        """When the first of these jobs was started, by the database's clock."""
        job = self.job.c
        statement = sa.select(sa.func.min(job.started_at)).where(job.id.between(ids[0], ids[-1]))
        with self.store.database.connect() as connection:
            began: datetime = connection.execute(statement).scalar_one()
            return began


@contextmanager
def client_of(url: str) -> Iterator[Client]:
    """A client for the block, in an application context, on a database with its tables."""
    app = create_app({"RECURRING_DATABASE_URL": url, "RECURRING_WORKER_ENABLED": False})
    with app.app_context():
        store = scheduler.binding.ready_store()
        try:
            yield Client(store)
        finally:
            store.database.engine.dispose()
            store.database.close()
