"""What servers do about time, step by step: a test says when."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from functools import cached_property

from flask_recurring._recurring.definition import Definition
from flask_recurring._recurring.recurring_job import RecurringJob, Tick
from flask_recurring._server.clock import Clock
from flask_recurring._server.promoter import Promoter
from flask_recurring._server.ticker import Ticker
from flask_recurring._store import Notification, Store
from flask_recurring.job import Job
from tests.store.samples import definition, fetch, ticks_of
from tests.store.worker import Worker
from tests.time.clock import DatabaseClock


class Fleet:
    """Any number of servers of the task ``work``, as one: they tick and work when told to."""

    def __init__(self, store: Store, clock: DatabaseClock) -> None:
        self.store = store
        self.clock = clock
        self.notified: list[Notification] = []
        self.promoted = False
        self._connection = store.database.open("control")

    def declare(self, id: str = "job", **values: object) -> Definition:
        """Declare a recurring job of the task ``work``."""
        new = definition(id, **values)
        self.store.recurring.save([new])
        return new

    def tick(self, at: datetime | timedelta | None = None) -> None:
        """Tick all that is due, at a time or after some time."""
        if isinstance(at, datetime):
            self.clock.set(at)
        elif at is not None:
            self.clock.move(at)

        def promote() -> None:
            self.promoted = True

        ticker = Ticker(
            self.store,
            Clock(),
            tasks=lambda: ["work"],
            notify=self.notified.append,
            promote=promote,
        )
        while ticker.next_at <= time.monotonic():
            ticker.perform(self._connection)

    def promote(self) -> None:
        """Let those go that have waited for others."""
        Promoter(self.store).perform(self._connection)

    @cached_property
    def worker(self) -> Worker:
        """One that claims jobs and writes their ends."""
        return Worker(self.store)

    def job(self, id: str = "job") -> RecurringJob:
        """The recurring job as it stands."""
        found = self.store.recurring.get(id)
        assert found is not None
        return found

    def jobs(self, id: str = "job") -> list[Job]:
        """All its jobs, oldest first."""
        page = self.store.jobs.page(None, recurring_id=id, limit=1_000)
        return [fetch(self.store, job.id) for job in reversed(page.items)]

    def dues(self, id: str = "job") -> list[datetime | None]:
        """The ticks that became jobs, oldest first."""
        return [job.due for job in self.jobs(id)]

    def history(self, id: str = "job", limit: int = 1_000) -> list[Tick]:
        """What became of its due times, in their order."""
        ticks = ticks_of(self.store, id, limit)
        return sorted(ticks, key=lambda tick: tick.due or tick.created_at)

    def close(self) -> None:
        """Close what this has opened itself."""
        self._connection.close()
        if "worker" in self.__dict__:
            self.worker.close()
