"""Runs of a recurring job that are not over when the next one is due.

``_store.awaiting`` explains when a run is active, and how two runs are kept apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from ...job import JobState
from ..awaiting import Promotion, unfinished
from ..chunks import chunked
from ..notification import Notification, Topic
from ..transitions import Event, values
from ..types import now
from .table import RecurringTable

PROMOTED = 500
"""Recurring jobs whose rows one transaction locks."""


@dataclass(frozen=True, slots=True)
class ActiveRuns:
    """The runs of one recurring job that are not over."""

    running: list[int] = field(default_factory=list)
    """Ids of those that a worker has."""
    waiting: list[int] = field(default_factory=list)
    """Ids of those that wait for a worker, or for the start that jitter gave them."""
    retrying: list[int] = field(default_factory=list)
    """Ids of those that have failed and wait for their retry."""
    awaiting: list[int] = field(default_factory=list)
    """Ids of those that wait for the end of the others."""

    @property
    def jobs(self) -> list[int]:
        """Those that are active."""
        return self.running + self.waiting + self.retrying


class Overlaps(RecurringTable):
    """Reads and stops active runs, and enqueues those that have waited for them."""

    def active(self, connection: sa.Connection, ids: Sequence[str]) -> dict[str, ActiveRuns]:
        """The active runs of each of these recurring jobs."""
        job = self._job.c
        found = {id: ActiveRuns() for id in ids}
        retrying = (job.attempt > 0) & (job.run_at > now())
        statement = sa.select(job.id, job.recurring_id, job.state, retrying.label("retrying"))
        statement = statement.where(job.recurring_id.in_(ids), *unfinished(job))
        for row in connection.execute(statement.order_by(job.recurring_id, job.id)):
            active = found[row.recurring_id]
            match row.state:
                case JobState.PROCESSING:
                    active.running.append(row.id)
                case JobState.ENQUEUED:
                    (active.retrying if row.retrying else active.waiting).append(row.id)
                case _:
                    active.awaiting.append(row.id)
        return found

    def replace(self, connection: sa.Connection, active: Sequence[ActiveRuns]) -> bool:
        """Ask runs to stop, and delete those that wait. True if any was asked to stop.

        Call it within a transaction.
        """
        job = self._job.c
        running = sorted(id for one in active for id in one.running)
        waiting = sorted(id for one in active for id in one.waiting + one.retrying + one.awaiting)
        if waiting:
            connection.execute(
                sa.update(self._job)
                .where(job.id.in_(waiting), Event.REPLACED.leaves(job.state))
                .values(values(Event.REPLACED.columns, now=self._database.driver.now))
            )
        # A worker may have taken one of them since they were read.
        asked = connection.execute(
            sa.update(self._job)
            .where(job.id.in_(running + waiting), Event.ASKED_TO_STOP.leaves(job.state))
            .values(values(Event.ASKED_TO_STOP.columns))
        ).rowcount
        if asked:
            self._database.driver.notify(connection, Notification(Topic.CANCEL))
        return bool(asked)

    def promote(self, connection: sa.Connection) -> Promotion:
        """Enqueue the runs that have waited for the end of another, where none is active any more.

        Any number of servers may do it at once.
        """
        notifications: list[Notification] = []
        left = False
        for ids in chunked(self._awaiting.ready(connection), PROMOTED):
            with self._database.driver.transaction(connection):
                promotion = self._awaiting.promote(connection, ids)
            notifications += promotion.notifications
            left = left or promotion.left
        return Promotion(notifications, left)
