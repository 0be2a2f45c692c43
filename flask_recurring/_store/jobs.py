"""Jobs: reading them. New ones are written by ``insertion``, lists read by ``listing``, and what is
done to jobs that are there stands in ``commands``."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from ..job import Attempt, Job, JobState
from .capped_count import CappedCount
from .commands import JobCommands
from .database import Database
from .insertion import Insertion
from .job_value import read
from .listing import LOOK
from .notification import Notification
from .page import Cursor, Page
from .text import is_storable
from .types import is_id


class Jobs(Insertion, JobCommands):
    """The job table and what hangs on it."""

    def __init__(self, database: Database, notify: Callable[[Notification], None]) -> None:
        Insertion.__init__(self, database, notify)
        JobCommands.__init__(self, database, notify)

    # -- reading

    def get(self, job_id: int) -> Job | None:
        """The job, or None if there is none with this id."""
        if not is_id(job_id):
            return None
        with self._database.connect() as connection:
            found = connection.execute(
                self._listing.select().where(self._job.c.id == job_id)
            ).first()
        return None if found is None else read(found)

    def attempts(self, job_id: int) -> list[Attempt]:
        """The runs of the job that did not succeed, oldest first."""
        if not is_id(job_id):
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
        look: int = LOOK,
    ) -> Page:
        """Part of a list. Waiting jobs come next-to-run first, running ones longest-running first,
        all others newest first.

        :param look: jobs that are looked at, at most, for a task's, for a queue's that are not
            waiting, or for a recurring job's in one state. If it takes more, the page is ``cut``.
        """
        filters = {"queue": queue, "task": task, "recurring_id": recurring_id}
        if not all(value is None or is_storable(value) for value in filters.values()):
            return Page([], None, None)
        with self._database.connect() as connection:
            rows, more, end, bounded = self._listing.rows(
                connection, state, filters, before, after, limit, look
            )
        items = [read(row) for row in rows]
        cut = end is not None
        if not items:
            # Who goes on looking, and finds nothing, can turn back.
            if after is not None:
                return Page([], older=after if bounded else None, newer=end, cut=cut)
            return Page([], older=end, newer=before if bounded else None, cut=cut)
        first, last = (self._listing.cursor(state, filters, job) for job in (items[0], items[-1]))
        if after is not None:
            return Page(items, older=last, newer=first if more else end, cut=cut)
        return Page(items, older=last if more else end, newer=first if before else None, cut=cut)

    def counts(self) -> dict[JobState, CappedCount]:
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
