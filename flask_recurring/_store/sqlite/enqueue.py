"""SQLite: new jobs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ..keys import claimed_keys
from ..notification import Notification
from ..records import NewJob, TickWrite
from ..spool import Chunk
from ..transitions import Event
from ..types import to_microseconds
from . import clock
from .connection import raw
from .statements import Statements
from .transactions import Transactions


class Enqueue(Transactions):
    """Writes new jobs. See ``Driver``."""

    _sql: Statements

    def insert(
        self, connection: sa.Connection, job: NewJob, notification: Notification | None
    ) -> Any:
        return self.insert_over(raw(connection), job, notification)

    def insert_over(self, borrowed: Any, job: NewJob, notification: Notification | None) -> Any:
        now = clock.now()
        with self._writing:
            return borrowed.execute(self._sql.insert, _values(job, now)).fetchone()

    def insert_many(self, connection: sa.Connection, chunk: Chunk) -> list[int]:
        now = clock.now()
        if chunk.keyed or chunk.timed:
            for key in claimed_keys(chunk.jobs):
                connection.exec_driver_sql(self._sql.free_key, (key,))
            return [self._insert_one(connection, job, now) for job in chunk.jobs]
        values = (now, now, chunk.packed.decode())
        written = connection.exec_driver_sql(self._sql.insert_many, values)
        # A statement of the only writer: the ids follow each other, in the order of the rows.
        last = written.lastrowid
        return list(range(last - written.rowcount + 1, last + 1))

    def _insert_one(self, connection: sa.Connection, job: NewJob, now: int) -> int:
        row = connection.exec_driver_sql(self._sql.insert, _values(job, now)).first()
        if row is None:
            row = connection.exec_driver_sql(self._sql.by_key, (job.key,)).one()
        return int(row[0])

    def write_ticks(self, connection: sa.Connection, due: Sequence[TickWrite]) -> None:
        driver = raw(connection)
        now = clock.now()
        without_run = [
            (tick.recurring_id, to_microseconds(tick.due), tick.outcome, tick.reason, now)
            for tick in due
            if tick.due is not None and tick.outcome != "run"
        ]
        if without_run:
            driver.executemany(self._sql.insert_entry, without_run)
        moved: dict[str, tuple[int | None, int | None, int | None]] = {}
        for tick in due:
            next_at = None if tick.next_at is None else to_microseconds(tick.next_at)
            _, last_due, last_job = moved.get(tick.recurring_id, (None, None, None))
            if tick.due is not None and tick.outcome == "run":
                last_due = to_microseconds(tick.due)
                last_job = self._write_tick(driver, tick, last_due, now) or last_job
            moved[tick.recurring_id] = (next_at, last_due, last_job)
        driver.executemany(self._sql.move_on, [(*values, id) for id, values in moved.items()])

    def _write_tick(
        self, driver: sqlite3.Connection, tick: TickWrite, due: int, now: int
    ) -> int | None:
        entry = (tick.recurring_id, due, tick.outcome, tick.reason, now)
        fresh = driver.execute(self._sql.insert_tick, entry).fetchone()
        if fresh is None:
            return None
        start = now if tick.start is None else to_microseconds(tick.start)
        event = Event.AWAITED if tick.awaiting else Event.ENQUEUED
        job = driver.execute(
            self._sql.insert_run,
            (
                *(tick.task, tick.arguments, tick.queue, tick.priority),
                *(event.target.value, start, now),
                *(tick.recurring_id, due, tick.options),
            ),
        )
        driver.execute(self._sql.name_job, (job.lastrowid, fresh[0]))
        return job.lastrowid


def _values(job: NewJob, now: int) -> tuple[Any, ...]:
    run_at = to_microseconds(job.run_at) if job.run_at is not None else now + round(job.delay * 1e6)
    due = None if job.due is None else to_microseconds(job.due)
    placed = (job.task, job.arguments, job.queue, job.priority, run_at, now)
    return (*placed, job.recurring_id, due, job.key, job.options)
