"""Jobs: reading them, requeuing, deleting, purging. New ones are written by ``insertion``, lists
read by ``listing``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import sqlalchemy as sa

from ..job import Attempt, Job, JobState
from .count import Count
from .database import Database
from .hint import Hint, Topic
from .insertion import Insertion
from .listing import read
from .page import Cursor, Page
from .purge import Place, Purge
from .text import is_storable
from .types import now


class Jobs(Insertion):
    """The job table and what hangs on it."""

    def __init__(self, database: Database, tell: Callable[[Hint], None]) -> None:
        super().__init__(database, tell)
        self._purge = Purge(database)

    # -- reading

    def get(self, job_id: int) -> Job | None:
        """The job, or None if there is none with this id."""
        if not possible(job_id):
            return None
        with self._database.connect() as connection:
            found = connection.execute(
                self._listing.select().where(self._job.c.id == job_id)
            ).first()
        return None if found is None else read(found)

    def attempts(self, job_id: int) -> list[Attempt]:
        """The runs of the job that did not succeed, oldest first."""
        if not possible(job_id):
            return []
        attempt, server = self._database.tables.attempt, self._database.tables.server
        statement = (
            sa.select(attempt, server.c.name.label("server"))
            .outerjoin(server, server.c.id == attempt.c.server_id)
            .where(attempt.c.job_id == job_id)
            .order_by(attempt.c.claim)
        )
        with self._database.connect() as connection:
            rows = connection.execute(statement).mappings().all()
        names = list(Attempt.__dataclass_fields__)
        return [Attempt(**{name: row[name] for name in names}) for row in rows]

    def page(
        self,
        state: JobState | None,
        *,
        queue: str | None = None,
        task: str | None = None,
        recurring_id: str | None = None,
        before: Cursor | None = None,
        after: Cursor | None = None,
        limit: int = 50,
    ) -> Page:
        """Part of a list. Waiting jobs come next-to-run first, all others newest first."""
        filters = {"queue": queue, "task": task, "recurring_id": recurring_id}
        if not all(value is None or is_storable(value) for value in filters.values()):
            return Page([], None, None)
        with self._database.connect() as connection:
            rows, more = self._listing.rows(connection, state, filters, before, after, limit)
        items = [read(row) for row in rows]
        if not items:
            return Page([], None, None)
        first, last = (self._listing.cursor(state, filters, job) for job in (items[0], items[-1]))
        if after is not None:
            return Page(items, older=last, newer=first if more else None)
        return Page(items, older=last if more else None, newer=first if before else None)

    def counts(self) -> dict[JobState, Count]:
        """How many jobs are in each state, counted up to a cap."""
        with self._database.connect() as connection:
            return self._listing.counts(connection)

    def claimed_by(
        self, connection: sa.Connection, server_id: int, *, cancelled: bool = False
    ) -> list[tuple[int, int]]:
        """Id and claim of the jobs that a server holds; or only of those it is to stop."""
        job = self._job.c
        statement = sa.select(job.id, job.claim).where(job.server_id == server_id)
        if cancelled:
            statement = statement.where(job.cancel_requested)
        return [(row.id, row.claim) for row in connection.execute(statement)]

    # -- changing

    def requeue(self, job_id: int) -> bool:
        """Let a finished, scheduled or awaiting job run now, with all its retries before it again.

        False if there is no such job, or it is waiting for a worker or running already.
        """
        if not possible(job_id):
            return False
        job = self._job.c
        statement = (
            sa.update(self._job)
            .where(
                job.id == job_id,
                job.finished_at.is_not(None)
                | ((job.state == JobState.ENQUEUED.value) & (job.run_at > now()))
                | (job.state == JobState.AWAITING.value),
            )
            .values(
                state=JobState.ENQUEUED.value,
                run_at=now(),
                started_at=None,
                finished_at=None,
                result=None,
                attempt=0,
                lost=0,
                cancel_requested=False,
            )
            .returning(job.queue, job.priority)
        )
        with self._database.begin() as connection:
            row = connection.execute(statement).first()
            if row is None:
                return False
            hint = Hint(Topic.JOB, row.queue, row.priority)
            self._database.driver.announce(connection, hint)
        self._tell(hint)
        return True

    def delete(self, job_id: int) -> bool:
        """Mark a job Deleted; one that is running is asked to stop and marked when it does.

        False if there is no such job, or it is deleted or asked to stop already.
        """
        if not possible(job_id):
            return False
        job = self._job.c
        running = job.state == JobState.PROCESSING.value
        statement = (
            sa.update(self._job)
            .where(
                job.id == job_id,
                job.state != JobState.DELETED.value,
                sa.not_(job.cancel_requested) | sa.not_(running),
            )
            .values(
                state=sa.case((running, job.state), else_=JobState.DELETED.value),
                finished_at=sa.case((running, job.finished_at), else_=now()),
                cancel_requested=running,
            )
            .returning(job.state)
        )
        with self._database.begin() as connection:
            row = connection.execute(statement).first()
            if row is None:
                return False
            if row.state == JobState.PROCESSING.value:
                self._database.driver.announce(connection, Hint(Topic.CANCEL))
        self._tell(Hint(Topic.CANCEL))
        return True

    def purge(self, older_than: timedelta, states: Sequence[JobState]) -> int:
        """Delete jobs that finished longer ago, with their attempts and consoles.

        Not the runs of a recurring job that says how many are kept.
        In chunks of a transaction each, so that nobody waits for it. Returns how many.
        """
        deleted = 0
        for state in states:
            place, more = Place(), True
            while more:
                with self._database.connect() as connection:
                    found, more = self.purge_chunk(connection, state, older_than, place)
                deleted += found
        return deleted

    def purge_chunk(
        self,
        connection: sa.Connection,
        state: JobState,
        older_than: timedelta,
        place: Place | None = None,
    ) -> tuple[int, bool]:
        """Delete the oldest of them in one transaction: how many, and whether more may be left.

        :param place: where the chunk before has ended; it is moved on.
        """
        return self._purge.chunk(connection, state, older_than, place or Place())

    def purge_surplus(self, connection: sa.Connection, after: str = "") -> tuple[int, str | None]:
        """Delete runs beyond those that recurring jobs keep, some recurring jobs at a time.

        Returns how many, and after which id of a recurring job to go on; None at the end.
        """
        return self._purge.surplus(connection, after)


def possible(job_id: int) -> bool:
    """Whether it could be a job's id: databases refuse to look for numbers that they can't hold."""
    return 0 < job_id < 2**63
