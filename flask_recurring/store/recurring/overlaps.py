"""Runs of a recurring job that are not over, as far as the next one has to heed them.

*Going* is a run that is being worked on, or waits for a worker, or for the start that its jitter
gave it. One that has failed and is tried again later is not, until then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ...job import JobState
from ..hint import Hint, Topic
from ..types import now
from .table import RecurringTable


@dataclass(frozen=True, slots=True)
class Going:
    """The runs of one recurring job that are not over."""

    running: list[int] = field(default_factory=list)
    """Ids of those that a worker has."""
    waiting: list[int] = field(default_factory=list)
    """Ids of those that wait for a worker."""
    awaiting: list[int] = field(default_factory=list)
    """Ids of those that wait for the end of the others."""

    @property
    def jobs(self) -> list[int]:
        """Those that are going."""
        return self.running + self.waiting


class Overlaps(RecurringTable):
    """Looks at them, stops them, and lets those go that have waited for them."""

    def going(self, connection: sa.Connection, ids: Sequence[str]) -> dict[str, Going]:
        """What is going of each of these recurring jobs."""
        job = self._job.c
        found = {id: Going() for id in ids}
        statement = sa.select(job.id, job.recurring_id, job.state).where(
            job.recurring_id.in_(ids), *_live(job), _counts(job)
        )
        for row in connection.execute(statement.order_by(job.recurring_id, job.id)):
            going = found[row.recurring_id]
            match row.state:
                case JobState.PROCESSING:
                    going.running.append(row.id)
                case JobState.ENQUEUED:
                    going.waiting.append(row.id)
                case _:
                    going.awaiting.append(row.id)
        return found

    def replace(self, connection: sa.Connection, going: Sequence[Going]) -> bool:
        """Ask what runs to stop, and delete what waits; whether anything was asked.

        Call it within a transaction.
        """
        job = self._job.c
        running = sorted(id for one in going for id in one.running)
        waiting = sorted(id for one in going for id in one.waiting + one.awaiting)
        if waiting:
            connection.execute(
                sa.update(self._job)
                .where(
                    job.id.in_(waiting),
                    job.state.in_([JobState.ENQUEUED.value, JobState.AWAITING.value]),
                )
                .values(state=JobState.DELETED.value, finished_at=now())
            )
        # A worker may have taken one of them since they were looked at.
        asked = connection.execute(
            sa.update(self._job)
            .where(job.id.in_(running + waiting), job.state == JobState.PROCESSING.value)
            .values(cancel_requested=True)
        ).rowcount
        if asked:
            self._database.driver.announce(connection, Hint(Topic.CANCEL))
        return bool(asked)

    def promote(self, connection: sa.Connection) -> list[Hint]:
        """Enqueue the runs that have waited for the end of another, where none is going any more.

        Any number of servers may do it at once. Returns hints at what may run now.
        """
        job, other = self._job.c, self._job.alias("other")
        awaiting = sa.text("state = 'Awaiting'")
        if connection.execute(sa.select(job.id).where(awaiting).limit(1)).first() is None:
            return []
        goes = sa.exists().where(
            other.c.recurring_id == job.recurring_id,
            other.c.recurring_id.is_not(None),
            other.c.finished_at.is_(None),
            other.c.id != job.id,
            (_counts(other.c) & (other.c.state != JobState.AWAITING.value))
            | ((other.c.state == JobState.AWAITING.value) & (other.c.id < job.id)),
        )
        statement = (
            sa.update(self._job)
            .where(job.state == sa.literal_column("'Awaiting'"), ~goes)
            .values(
                state=JobState.ENQUEUED.value,
                run_at=sa.case((job.run_at > now(), job.run_at), else_=now()),
            )
            .returning(job.queue, job.priority)
        )
        with self._database.driver.transaction(connection):
            lanes = {(row.queue, row.priority) for row in connection.execute(statement)}
            hints = [Hint(Topic.JOB, queue, priority) for queue, priority in sorted(lanes)]
            for hint in hints:
                self._database.driver.announce(connection, hint)
        return hints


def _live(job: Any) -> list[sa.ColumnElement[bool]]:
    """Spelt as in the index's condition, so that the planner sees that it applies."""
    return [job.recurring_id.is_not(None), job.finished_at.is_(None)]


def _counts(job: Any) -> sa.ColumnElement[bool]:
    """Whether a run that isn't over is going or awaiting: all but those tried again later."""
    later: sa.ColumnElement[bool] = (
        (job.state == JobState.ENQUEUED.value) & (job.run_at > now()) & (job.attempt > 0)
    )
    return sa.not_(later)
