"""Jobs as values: from a row that was read, and from what was just written.

Their arguments are decoded when somebody asks for them: most who enqueue a job, or list jobs,
don't.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from .._arguments import read_arguments
from ..job import Job, JobState
from .database import Database
from .records import NewJob
from .states import waiting


def read(row: sa.Row[Any]) -> Job:
    """A job from a row of ``Listing.select``."""
    job = Job(
        id=row.id,
        task=row.task,
        args=(),
        kwargs={},
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
    job.read_later(partial(read_arguments, row.arguments))
    return job


def written(database: Database, job: NewJob, row: Any) -> Job:
    """The job that was just written, from the row of a driver's own insert, which knows no column
    types. Without asking for it again: what was committed must not be taken for failed because the
    question did."""
    dialect = database.engine.dialect
    instant = database.tables.job.c.run_at.type
    created, run = (
        cast("sa.types.TypeDecorator[datetime]", instant).process_result_value(value, dialect)
        for value in (row[1], row[2])
    )
    assert created is not None
    assert run is not None
    return new(job, row[0], created, run)


def new(job: NewJob, job_id: int, created_at: datetime, run_at: datetime) -> Job:
    """The job that was just written, without asking for it again."""
    written = Job(
        id=job_id,
        task=job.task,
        args=(),
        kwargs={},
        queue=job.queue,
        priority=job.priority,
        state=waiting(run_at, created_at),
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
    written.read_later(partial(read_arguments, job.arguments))
    return written
