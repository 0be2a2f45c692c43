"""What is done to jobs that are there: requeue, delete, purge; and by whom.

Each act is written to the audit in its own transaction: what was done is in it, and what is in it
was done, whatever happens to the process or to the database meanwhile. Acts on many jobs are done
in chunks, some statements for each chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ..job import JobState
from .audit import APPLICATION, entries_of, entry
from .awaiting import Awaiting
from .chunks import chunked
from .database import Database
from .notification import Notification, Topic
from .purge import Purge, PurgeCursor
from .states import scheduled
from .transitions import Event, choose, values
from .types import is_id

CHUNK = 500
"""Jobs that are changed in one transaction: it takes some ten milliseconds."""


class JobCommands:
    """Changes jobs."""

    def __init__(self, database: Database, notify: Callable[[Notification], None]) -> None:
        self._database = database
        self._job = database.tables.job
        self._notify = notify
        self._purge = Purge(database)
        self._awaiting = Awaiting(database)

    def requeue(self, job_id: int, actor: str = APPLICATION) -> bool:
        """Let a finished, scheduled or awaiting job run now, with all its retries before it again.

        A run of a recurring job whose policy keeps its runs apart awaits until no other is going.

        False if there is no such job, or it is waiting for a worker, or for such another run, or
        running already.
        """
        return bool(self.requeue_all([job_id], actor))

    def requeue_all(self, job_ids: Iterable[int], actor: str = APPLICATION) -> list[int]:
        """Requeue these jobs; returns the ids of those for which there was something to do."""
        job, apart = self._job.c, self._awaiting.apart
        columns = values(Event.REQUEUED.columns, now=self._database.driver.now)
        # One that was active already goes on.
        columns["state"] = sa.case(
            (Event.REQUEUED_APART.leaves(job.state) & apart, Event.REQUEUED_APART.target.value),
            else_=Event.REQUEUED.target.value,
        )
        condition = (
            Event.REQUEUED_APART.leaves(job.state)
            | scheduled(job)
            | (Event.PROMOTED.leaves(job.state) & sa.not_(apart))
        )
        statement = sa.update(self._job).values(columns)
        return self._change(job_ids, statement, condition, "job.requeue", actor)

    def delete(self, job_id: int, actor: str = APPLICATION) -> bool:
        """Mark a job Deleted; one that is running is asked to stop and marked when it does.

        False if there is no such job, or it is deleted or asked to stop already.
        """
        return bool(self.delete_all([job_id], actor))

    def delete_all(self, job_ids: Iterable[int], actor: str = APPLICATION) -> list[int]:
        """Delete these jobs; returns the ids of those for which there was something to do."""
        job = self._job.c
        columns = choose(
            Event.ASKED_TO_STOP.where, Event.ASKED_TO_STOP.columns, Event.DELETED.columns
        )
        statement = sa.update(self._job).values(values(columns, now=self._database.driver.now))
        condition = Event.DELETED.leaves(job.state) | (
            Event.ASKED_TO_STOP.leaves(job.state) & sa.not_(job.cancel_requested)
        )
        return self._change(job_ids, statement, condition, "job.delete", actor)

    def _change(
        self,
        job_ids: Iterable[int],
        statement: sa.Update,
        condition: sa.ColumnElement[bool],
        action: str,
        actor: str,
    ) -> list[int]:
        """Change those of the jobs that meet the condition, chunk by chunk; returns their ids."""
        job, audit = self._job.c, self._database.tables.audit
        returning = statement.returning(
            *(job.id, job.state, job.queue, job.priority, job.recurring_id)
        )
        changed: list[int] = []
        for ids in chunked(sorted({id for id in job_ids if is_id(id)}), CHUNK):
            # Locked in the order of their ids, as everywhere: two that change the same jobs at
            # once wait for one another, and never in a circle.
            chosen = sa.select(job.id).where(job.id.in_(ids), condition).order_by(job.id)
            with self._database.begin() as connection:
                found = connection.execute(
                    returning.where(job.id.in_(chosen.with_for_update()))
                ).all()
                rows = sorted(found, key=lambda row: row.id)
                if rows:
                    entries = [(str(row.id), _detail(row)) for row in rows]
                    connection.execute(*entries_of(audit, actor, action, entries))
                notifications = {
                    notification for row in rows if (notification := _notification(row)) is not None
                }
                for notification in notifications:
                    self._database.driver.notify(connection, notification)
                # What awaits goes at once where it may.
                awaiting = [row for row in rows if row.state == Event.REQUEUED_APART.target]
                if awaiting:
                    recurring = sorted({row.recurring_id for row in awaiting})
                    own = [row.id for row in awaiting]
                    notifications.update(
                        self._awaiting.promote(connection, recurring, own).notifications
                    )
            for notification in notifications:
                self._notify(notification)
            changed += [row.id for row in rows]
        return changed

    def purge(
        self, older_than: timedelta, states: Sequence[JobState], actor: str = APPLICATION
    ) -> int:
        """Delete jobs that finished longer ago, with their attempts and consoles.

        Not the runs of a recurring job that says how many are kept.
        In chunks of a transaction each, so that nobody waits for it. Returns how many.
        """
        deleted = 0
        for state in states:
            detail = f"{state.value}, finished more than {older_than} ago"

            def note(connection: sa.Connection, count: int, detail: str = detail) -> None:
                table = self._database.tables.audit
                connection.execute(entry(table, actor, "jobs.purge", f"{count} jobs", detail))

            place, more = PurgeCursor(), True
            while more:
                with self._database.connect() as connection:
                    found, more = self._purge.chunk(connection, state, older_than, place, note)
                deleted += found
        return deleted

    def purge_chunk(
        self,
        connection: sa.Connection,
        state: JobState,
        older_than: timedelta,
        place: PurgeCursor | None = None,
        rows: int | None = None,
    ) -> tuple[int, bool]:
        """Delete the oldest of them in one transaction: how many, and whether more may be left.

        :param place: where the chunk before has ended; it is moved on.
        :param rows: how many are looked at.
        """
        return self._purge.chunk(connection, state, older_than, place or PurgeCursor(), rows=rows)

    def purge_surplus(
        self, connection: sa.Connection, after: str = "", rows: int | None = None
    ) -> tuple[int, str | None]:
        """Delete runs beyond those that recurring jobs keep, some recurring jobs at a time.

        Returns how many, and after which id of a recurring job to go on; None at the end.
        """
        return self._purge.surplus(connection, after, rows)


def _detail(row: sa.Row[Any]) -> str:
    """What the audit says besides of a job that was changed."""
    return "asked to stop" if row.state == Event.ASKED_TO_STOP.target else ""


def _notification(row: sa.Row[Any]) -> Notification | None:
    """What servers are to hear of a job that was changed."""
    match row.state:
        case JobState.ENQUEUED:
            return Notification(Topic.JOB, row.queue, row.priority)
        case JobState.PROCESSING:
            return Notification(Topic.CANCEL)
    return None
