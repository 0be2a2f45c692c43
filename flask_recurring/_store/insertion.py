"""New jobs: written by themselves, in bulk, or within somebody else's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa

from ..errors import ArgumentError
from ..job import Job
from .database import Database
from .errors import ErrorKind, StoreUnavailable
from .job_value import new, read, written
from .keys import Keys
from .listing import Listing
from .notification import Notification
from .records import NewJob
from .spool import Spool
from .text import first_unfit, fitted
from .transitions import Event
from .types import now


class Insertion:
    """Writes to the job table."""

    def __init__(self, database: Database, notify: Callable[[Notification], None]) -> None:
        self._database = database
        self._job = database.tables.job
        self._notify = notify
        self._listing = Listing(database)
        self._keys = Keys(self._job, self._listing.select)

    def insert(self, job: NewJob) -> Job:
        """Write one job. If its key is taken, the job that has it is returned instead.

        A finished job gives its key up, unless ``key_kept`` says that it counts too.
        """
        if self._database.codec is not None:
            job = fitting(job, self._database.codec)
        notification = job.notification
        row = None
        while row is None:
            try:
                with self._database.borrow() as borrowed:
                    row = self._database.driver.insert_over(borrowed, job, notification)
            except StoreUnavailable as error:
                # An application's connection may be serializable, and then not even a taken key
                # is told as such at once. Each time another one has got on.
                if error.failure is not ErrorKind.CONFLICT:
                    raise
                continue
            if row is None and (found := self._holder(job)) is not None:
                return found
        if notification is not None:
            self._notify(notification)
        return written(self._database, job, row)

    def insert_many(self, jobs: Iterable[NewJob]) -> list[int]:
        """Write all of them, or none if one of them is refused; returns their ids in order."""
        codec = self._database.codec
        with Spool(jobs if codec is None else (fitting(job, codec) for job in jobs)) as spool:
            if not spool:
                return []
            with self._database.begin() as connection:
                ids = self.write_many(connection, spool)
            self.notify(spool.notifications)
            return ids

    def write(self, connection: sa.Connection, job: NewJob) -> Job:
        """Write one job by somebody else's transaction, which tells other processes of it."""
        if self._database.carried_codec is not None:
            job = fitting(job, self._database.carried_codec)
        inserted = self._insert_by(connection.execute, job)
        if (notification := job.notification) is not None:
            self._announce(connection, [notification])
        return inserted

    def write_many(self, connection: sa.Connection, spool: Spool) -> list[int]:
        """Write any number of jobs by somebody else's transaction; returns their ids in order."""
        ids: list[int] = []
        for chunk in spool:
            ids += self._database.driver.insert_many(connection, chunk)
        self._announce(connection, spool.notifications)
        return ids

    def notify(self, notifications: Iterable[Notification]) -> None:
        """Say inside this process that jobs were written by a transaction that has committed."""
        for notification in notifications:
            self._notify(notification)

    def _announce(self, connection: sa.Connection, notifications: Iterable[Notification]) -> None:
        # PostgreSQL can't prepare a transaction that has notified. Others then find the jobs when
        # they look the next time.
        if isinstance(connection.get_transaction(), sa.TwoPhaseTransaction):
            return
        for notification in notifications:
            self._database.driver.notify(connection, notification)

    def _insert_by(self, execute: Callable[[sa.Executable], sa.Result[Any]], job: NewJob) -> Job:
        while True:
            row = execute(self._statement(job)).first()
            if row is not None:
                return new(job, row.id, row.created_at, row.run_at)
            found = self._keys.holder(execute, job)
            if found is not None:
                return read(found)

    def _statement(self, job: NewJob) -> Any:
        return (
            self._database.insert(self._job)
            .values(
                task=job.task,
                arguments=job.arguments,
                queue=job.queue,
                priority=job.priority,
                state=Event.ENQUEUED.target.value,
                run_at=now(job.delay) if job.run_at is None else job.run_at,
                created_at=now(),
                recurring_id=job.recurring_id,
                due=job.due,
                key=job.key,
                options=job.options,
            )
            .on_conflict_do_nothing(
                index_elements=["key"], index_where=self._job.c.key.is_not(None)
            )
            .returning(self._job.c.id, self._job.c.created_at, self._job.c.run_at)
        )

    def _holder(self, job: NewJob) -> Job | None:
        with (
            self._database.connect() as connection,
            self._database.driver.writing(connection),
        ):
            found = self._keys.holder(connection.execute, job)
        return None if found is None else read(found)


def fitting(job: NewJob, codec: str) -> NewJob:
    """The job as a database of this encoding can hold it. Raises ``ArgumentError`` for a name.

    Its arguments lose nothing: they are JSON, which can write every character in ASCII.
    """
    names = {"task": job.task, "key": job.key, "recurring job": job.recurring_id}
    for what, name in names.items():
        if name is not None and (unfit := first_unfit(name, codec)) is not None:
            raise ArgumentError(
                f"the {what} {name!r} can't be kept: the database's encoding is {codec}, which has "
                f"no {unfit!r}; take another name, or a database in UTF8"
            )
    return job._replace(
        arguments=fitted(job.arguments, codec),
        options=None if job.options is None else fitted(job.options, codec),
    )
