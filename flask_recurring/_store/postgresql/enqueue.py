"""PostgreSQL: new jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import psycopg
import sqlalchemy as sa

from ..keys import claimed_keys
from ..notification import Notification, Topic
from ..records import NewJob, TickWrite
from ..spool import Chunk
from .connection import raw
from .notifications import Notifications
from .statements import Statements


class Enqueue(Notifications):
    """Writes new jobs, and says so. See ``Driver``."""

    _sql: Statements

    def insert(
        self, connection: sa.Connection, job: NewJob, notification: Notification | None
    ) -> Any:
        return self.insert_over(raw(connection), job, notification)

    def insert_over(self, borrowed: Any, job: NewJob, notification: Notification | None) -> Any:
        values: dict[str, Any] = {
            "task": job.task,
            "arguments": job.arguments,
            "queue": job.queue,
            "priority": job.priority,
        }
        statements = self._sql.insert_plain
        if not job.plain:
            values |= {
                "run_at": job.run_at,
                "delay": job.delay,
                "recurring_id": job.recurring_id,
                "due": job.due,
                "key": job.key,
                "options": job.options,
            }
            statements = self._sql.insert
        began = time.monotonic()
        payload = None if notification is None else notification.encode()
        notifies = payload is not None and not self._throttle.spares(payload, began)
        if notifies:
            values |= {"channel": self._channel, "payload": payload}
        row = borrowed.execute(statements[notifies], values).fetchone()
        if row is not None and payload is not None:
            ended = time.monotonic()
            if notifies:
                self._throttle.sent(payload, began, ended)
            elif not self._throttle.covers(payload, ended):
                # The job is there, whatever becomes of this; then it is found by the next poll.
                with suppress(psycopg.Error):
                    borrowed.execute("SELECT pg_notify(%s, %s)", (self._channel, payload))
        return row

    def insert_many(self, connection: sa.Connection, chunk: Chunk) -> list[int]:
        if chunk.keyed:
            return self._insert_keyed(connection, chunk.jobs)
        return self._insert_packed(connection, self._sql.insert_many, chunk)

    def _insert_packed(self, connection: sa.Connection, statement: str, chunk: Chunk) -> list[int]:
        values = {"jobs": chunk.packed.decode()}
        ids: list[int] = connection.execute(sa.text(statement), values).scalar_one()
        return ids

    def _insert_keyed(self, connection: sa.Connection, jobs: Sequence[NewJob]) -> list[int]:
        connection.execute(sa.text(self._sql.free_keys), {"keys": claimed_keys(jobs)})
        keys = {"keys": [job.key for job in jobs if job.key is not None]}
        found: dict[int, int] = {}
        pending = dict(enumerate(jobs))
        while pending:
            chunk = Chunk(list(pending.values()))
            ids = self._insert_packed(connection, self._sql.insert_keyed, chunk)
            rows = connection.execute(sa.text(self._sql.by_keys), keys)
            taken = {row.key: row.id for row in rows}
            for (place, job), id in zip(pending.items(), ids, strict=True):
                if job.key is None:
                    found[place] = id
                elif job.key in taken:
                    found[place] = taken[job.key]
            # Again for a job that had the key and was deleted between the two statements.
            pending = {place: job for place, job in pending.items() if place not in found}
        return [found[place] for place in range(len(jobs))]

    def write_ticks(self, connection: sa.Connection, due: Sequence[TickWrite]) -> None:
        names = (
            *("id", "due", "next_at", "task", "arguments", "queue", "priority", "options"),
            *("outcome", "reason", "start", "awaiting"),
        )
        # One value, since psycopg dumps a list item by item.
        ticks = msgspec.json.encode([dict(zip(names, tick, strict=True)) for tick in due])
        raw(connection).execute(self._sql.write_ticks, (ticks.decode(),))
        ran = [tick for tick in due if tick.due is not None and tick.outcome == "run"]
        for queue, priority in {(tick.queue, tick.priority) for tick in ran}:
            self.notify(connection, Notification(Topic.TICK, queue, priority))
