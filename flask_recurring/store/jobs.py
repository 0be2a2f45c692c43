"""Jobs: writing new ones, reading them, requeuing, deleting, purging. Lists are in ``listing``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from ..arguments import read_arguments
from ..job import Attempt, Job, JobState
from .count import Count
from .database import Database
from .driver import NewJob
from .hint import Hint, Topic
from .keys import Keys
from .listing import Listing
from .page import Cursor, Page
from .purge import Place, Purge
from .text import is_storable
from .types import now

CHUNK = 5_000
"""Jobs that are written at once, of any number."""

SOON = 2.0
"""Seconds: a job that is due later than this is found by the next poll in time, without a hint."""


class Jobs:
    """The job table and what hangs on it."""

    def __init__(self, database: Database, tell: Callable[[Hint], None]) -> None:
        self._database = database
        self._job = database.tables.job
        self._tell = tell
        self._listing = Listing(database)
        self._keys = Keys(self._job, self._listing)
        self._purge = Purge(database)

    # -- writing

    def insert(self, job: NewJob) -> Job:
        """Write one job. If its key is taken, the job that has it is returned instead.

        A finished job gives its key up, unless ``key_kept`` says that it counts too.
        """
        hint = _hint(job)
        row = None
        while row is None:
            with self._database.lend() as lent:
                row = self._database.driver.insert_over(lent, job, hint)
            if row is None and (found := self._holder(job)) is not None:
                return found
        if hint is not None:
            self._tell(hint)
        return _new(job, *_times(self._database, row))

    def insert_many(self, jobs: Iterable[NewJob]) -> list[int]:
        """Write all of them, or none if one of them is refused; returns their ids in order."""
        ids: list[int] = []
        hints: set[Hint] = set()
        source = iter(jobs)
        chunk = list(islice(source, CHUNK))
        if not chunk:
            return ids
        with self._database.begin() as connection:
            while chunk:
                ids += self._database.driver.insert_many(connection, chunk)
                hints |= _hints(chunk)
                chunk = list(islice(source, CHUNK))
            for hint in hints:
                self._database.driver.announce(connection, hint)
        for hint in hints:
            self._tell(hint)
        return ids

    def insert_within(
        self, execute: Callable[[sa.Executable], sa.Result[Any]], jobs: Sequence[NewJob]
    ) -> list[Job]:
        """Write jobs by somebody else's transaction: they exist if, and only if, it commits."""
        written = [self._insert_by(execute, job) for job in jobs]
        for hint in _hints(jobs):
            announcement = self._database.driver.announcement(hint)
            if announcement is not None:
                execute(announcement)
        return written

    def told(self, jobs: Sequence[NewJob]) -> None:
        """Say inside this process that jobs were written by a transaction that has committed."""
        for hint in _hints(jobs):
            self._tell(hint)

    def _insert_by(self, execute: Callable[[sa.Executable], sa.Result[Any]], job: NewJob) -> Job:
        while True:
            row = execute(self._statement(job)).first()
            if row is not None:
                return _new(job, row.id, row.created_at, row.run_at)
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
                state=JobState.ENQUEUED.value,
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


def read(row: sa.Row[Any]) -> Job:
    """A job from a row of ``Listing.select``."""
    args, kwargs = read_arguments(row.arguments)
    return Job(
        id=row.id,
        task=row.task,
        args=args,
        kwargs=kwargs,
        queue=row.queue,
        priority=row.priority,
        state=JobState(row.state),
        created_at=row.created_at,
        run_at=row.run_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempt=row.attempt,
        result=None if row.result is None else msgspec.json.decode(row.result),
        error=row.error,
        recurring_id=row.recurring_id,
        due=row.due,
        claim=row.claim,
        server=row.server,
        cancel_requested=row.cancel_requested,
    )


def _hint(job: NewJob) -> Hint | None:
    """The hint that a new job is worth: none if it runs so much later that polls will find it."""
    wait = job.delay
    if job.run_at is not None:
        # By this host's clock, which may be wrong: then a poll finds the job, a little late.
        wait = (job.run_at - datetime.now(UTC)).total_seconds()
    if wait > SOON:
        return None
    topic = Topic.LATER if wait > 0 else Topic.TICK if job.due is not None else Topic.JOB
    return Hint(topic, job.queue, job.priority)


def _hints(jobs: Iterable[NewJob]) -> set[Hint]:
    """All hints that the jobs are worth, each once."""
    return {hint for job in jobs if (hint := _hint(job)) is not None}


def _times(database: Database, row: Any) -> tuple[int, datetime, datetime]:
    """Id and times from a row of a driver's own insert, which knows no column types."""
    dialect = database.engine.dialect
    instant = database.tables.job.c.run_at.type
    created, run = (
        cast("sa.types.TypeDecorator[datetime]", instant).process_result_value(value, dialect)
        for value in (row[1], row[2])
    )
    assert created is not None
    assert run is not None
    return row[0], created, run


def _new(job: NewJob, job_id: int, created_at: datetime, run_at: datetime) -> Job:
    """The job that was just written, without asking for it again."""
    args, kwargs = read_arguments(job.arguments)
    return Job(
        id=job_id,
        task=job.task,
        args=args,
        kwargs=kwargs,
        queue=job.queue,
        priority=job.priority,
        state=JobState.SCHEDULED if run_at > created_at else JobState.ENQUEUED,
        created_at=created_at,
        run_at=run_at,
        started_at=None,
        finished_at=None,
        attempt=0,
        result=None,
        error=None,
        recurring_id=job.recurring_id,
        due=job.due,
        claim=0,
        server=None,
        cancel_requested=False,
        new=True,
    )
