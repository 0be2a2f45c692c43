"""Runs that wait for the end of another run of their recurring job: jobs in the state Awaiting.

**Which runs are going.** From when it is enqueued until it is finished, a run is going: while it
waits for a worker, while it runs, and while it has failed and waits for its retry. One that awaits
is not.

**How two are kept apart.** Where the policy keeps runs apart (``Overlap.apart``), only a tick, a
trigger by hand, and ``promote`` below let a run go. Each of them holds the lock on the recurring
job's row, and looks within it what is going. A requeue looks at jobs and may not lock that row as
well, since others lock the two the other way round: the run that it puts back awaits, and
``promote`` decides, which waits for no lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from .._recurring.policy import Overlap
from .database import Database
from .notification import Notification, Topic
from .states import AWAITING
from .transitions import Event, values

APART = frozenset(overlap.value for overlap in Overlap if overlap.apart)
"""The policies that keep runs apart, as rows name them."""


class Promotion(NamedTuple):
    """What became of runs that awaited."""

    notifications: list[Notification]
    """Of what may run now. Other processes are notified already, this one is not."""
    left: bool
    """True if a recurring job was left out because somebody else had locked its row."""


class Awaiting:
    """Tells which runs have to wait, and lets those go that have waited."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._job = database.tables.job
        self._recurring = database.tables.recurring_job
        other = self._job.alias("other")
        awaits = Event.PROMOTED.leaves(other.c.state)
        self._ready = sa.text(AWAITING) & sa.not_(
            sa.exists().where(
                *unfinished(other.c),
                other.c.recurring_id == self._job.c.recurring_id,
                other.c.id != self._job.c.id,
                # Of several that wait the oldest comes first.
                sa.not_(awaits) | (other.c.id < self._job.c.id),
            )
        )

    @property
    def apart(self) -> sa.ColumnElement[bool]:
        """True for a run of a recurring job whose runs are kept apart."""
        recurring = self._recurring.c
        return sa.exists().where(
            recurring.id == self._job.c.recurring_id,
            recurring.overlap.in_(sorted(APART)),
        )

    def needed(self, connection: sa.Connection, id: str) -> bool:
        """True if a new run of this recurring job has to wait for another.

        Call it within the transaction that has locked the recurring job's row.
        """
        job = self._job.c
        there = sa.select(job.id).where(*unfinished(job), job.recurring_id == id)
        return connection.execute(there.limit(1)).first() is not None

    def ready(self, connection: sa.Connection) -> list[str]:
        """Ids of the recurring jobs of which a run awaits and none is going."""
        id = self._job.c.recurring_id
        found = connection.execute(sa.select(id).where(id.is_not(None), self._ready).distinct())
        return sorted(found.scalars())

    def promote(
        self, connection: sa.Connection, ids: Sequence[str], jobs: Sequence[int] | None = None
    ) -> Promotion:
        """Enqueue the run that has waited longest of each of these, where none is going.

        Call it within a transaction. It steps over rows of recurring jobs that others have locked.

        :param jobs: only these runs. If the transaction has locked them already, it waits for no
            lock at all, and so is part of no circle.
        """
        recurring, job = self._recurring.c, self._job.c
        rows = sa.select(recurring.id).where(recurring.id.in_(ids))
        there = set(connection.execute(rows).scalars())
        locked = set(
            connection.execute(
                rows.order_by(recurring.id).with_for_update(skip_locked=True)
            ).scalars()
        )
        # One that was removed has no row, and no ticks.
        free = [id for id in ids if id in locked or id not in there]
        statement = (
            sa.update(self._job)
            .where(job.recurring_id.in_(free), self._ready)
            .values(values(Event.PROMOTED.columns, now=self._database.driver.now))
            .returning(job.queue, job.priority)
        )
        if jobs is not None:
            statement = statement.where(job.id.in_(jobs))
        lanes = {(row.queue, row.priority) for row in connection.execute(statement)} if free else ()
        notifications = [
            Notification(Topic.JOB, queue, priority) for queue, priority in sorted(lanes)
        ]
        for notification in notifications:
            self._database.driver.notify(connection, notification)
        return Promotion(notifications, len(free) < len(ids))


def unfinished(job: Any) -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions that a job of these columns is a run that is not over.

    Spelt as in the index's condition, so that the planner sees that it applies.
    """
    return job.recurring_id.is_not(None), job.finished_at.is_(None)
