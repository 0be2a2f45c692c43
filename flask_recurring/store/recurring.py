"""Recurring jobs: their definitions, and their ticks.

**A tick happens once.** Whoever comes to a due row first locks it, and the others step over it. In
one transaction it then writes the tick under the unique pair (id, due time), the tick's job, and
the next due time. If it dies on the way nothing has happened, and the next one does it all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..arguments import read_arguments
from ..cron import CronExpression
from ..errors import UnknownRecurringJobError
from ..job import JobState
from ..recurring import Definition, RecurringJob, Tick
from .database import Database
from .driver import Due, NewJob
from .hint import Hint, Topic
from .text import is_storable, storable
from .types import now

LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class DueRow:
    """A recurring job whose next tick has come."""

    id: str
    task: str
    arguments: str
    queue: str
    priority: int
    options: str | None
    cron: str
    timezone: str
    next_at: datetime
    now: datetime
    """The database's time when it was read."""


class Recurring:
    """The recurring_job and tick tables."""

    def __init__(self, database: Database, tell: Callable[[Hint], None]) -> None:
        self._database = database
        self._row = database.tables.recurring_job
        self._tick = database.tables.tick
        self._tell = tell

    # -- definitions

    def save(self, definitions: Sequence[Definition]) -> int:
        """Write definitions; returns how many were new or differed from what was there.

        An unchanged one writes nothing, so a tick that fell due during a deployment still comes.
        A changed cron or zone sets the next tick from now on.
        """
        written = 0
        with self._database.begin() as connection:
            moment = self._database.clock(connection)
            # In one order everywhere, so that two applications that start together don't deadlock.
            for definition in sorted(definitions, key=lambda definition: definition.id):
                written += self._save(connection, definition, moment)
            if written:
                self._database.driver.announce(connection, Hint(Topic.SCHEDULE))
        if written:
            self._tell(Hint(Topic.SCHEDULE))
        return written

    def _save(self, connection: sa.Connection, new: Definition, moment: datetime) -> bool:
        row = self._row.c
        values = {
            "task": new.task,
            "arguments": new.arguments,
            "queue": new.queue,
            "priority": new.priority,
            "options": new.options,
            "cron": new.cron,
            "timezone": new.timezone,
        }
        select = sa.select(self._row).where(row.id == new.id)
        if (old := connection.execute(select).first()) is None:
            inserted = connection.execute(
                self._insert(
                    values
                    | {
                        "id": new.id,
                        "next_at": next_tick(new.cron, new.timezone, moment),
                        "created_at": moment,
                        "updated_at": moment,
                    }
                )
            )
            # Not its rowcount: SQLAlchemy keeps none for an insert.
            if inserted.first() is not None:
                return True
        old = connection.execute(select.with_for_update()).one()
        if all(getattr(old, name) == value for name, value in values.items()):
            return False
        if (old.cron, old.timezone) != (new.cron, new.timezone) and not old.paused:
            values["next_at"] = next_tick(new.cron, new.timezone, moment)
        connection.execute(
            sa.update(self._row).where(row.id == new.id).values(**values, updated_at=moment)
        )
        return True

    def _insert(self, values: dict[str, Any]) -> Any:
        dialect = postgresql if self._database.driver.name == "postgresql" else sqlite
        statement = dialect.insert(self._row).values(**values).on_conflict_do_nothing()
        return statement.returning(self._row.c.id)

    def remove(self, id: str) -> None:
        """Delete a recurring job. Its jobs and its history stay."""
        self._change(id, sa.delete(self._row))

    def pause(self, id: str) -> None:
        """Let the recurring job have no ticks until it is resumed."""
        self._change(id, sa.update(self._row).values(paused=True, next_at=None, updated_at=now()))

    def resume(self, id: str) -> None:
        """Let the recurring job tick again, from its next due time on."""
        if not is_storable(id):
            raise unknown(id)
        with self._database.begin() as connection:
            found = connection.execute(
                sa.select(self._row).where(self._row.c.id == id).with_for_update()
            ).first()
            if found is None:
                raise unknown(id)
            if found.paused:
                moment = self._database.clock(connection)
                connection.execute(
                    sa.update(self._row)
                    .where(self._row.c.id == id)
                    .values(
                        paused=False,
                        next_at=next_tick(found.cron, found.timezone, moment),
                        updated_at=moment,
                    )
                )
                self._database.driver.announce(connection, Hint(Topic.SCHEDULE))
        self._tell(Hint(Topic.SCHEDULE))

    def _change(self, id: str, statement: sa.Update | sa.Delete) -> None:
        if not is_storable(id):
            raise unknown(id)
        with self._database.begin() as connection:
            if connection.execute(statement.where(self._row.c.id == id)).rowcount == 0:
                raise unknown(id)
            self._database.driver.announce(connection, Hint(Topic.SCHEDULE))
        self._tell(Hint(Topic.SCHEDULE))

    def trigger(self, id: str, reason: str | None = None) -> int:
        """Enqueue a run now, beside the ticks, and return its job's id. No tick is moved by it."""
        if not is_storable(id):
            raise unknown(id)
        with self._database.begin() as connection:
            row = connection.execute(
                sa.select(self._row).where(self._row.c.id == id).with_for_update()
            ).first()
            if row is None:
                raise unknown(id)
            new = NewJob(
                task=row.task,
                arguments=row.arguments,
                queue=row.queue,
                priority=row.priority,
                options=row.options,
                recurring_id=id,
            )
            hint = Hint(Topic.JOB, row.queue, row.priority)
            written = self._database.driver.insert(connection, new, hint)
            assert written is not None
            job_id = int(written[0])
            connection.execute(
                sa.insert(self._tick).values(
                    recurring_id=id,
                    due=None,
                    outcome="triggered",
                    reason=None if reason is None else storable(reason, LONGEST_REASON),
                    job_id=job_id,
                    created_at=now(),
                )
            )
            connection.execute(
                sa.update(self._row).where(self._row.c.id == id).values(last_job_id=job_id)
            )
        self._tell(hint)
        return job_id

    # -- reading

    def get(self, id: str) -> RecurringJob | None:
        """The recurring job, or None if there is none with this id."""
        if not is_storable(id):
            return None
        found = self._read(self._select().where(self._row.c.id == id))
        return found[0] if found else None

    def all(self) -> list[RecurringJob]:
        """All recurring jobs, in the order of their ids."""
        return self._read(self._select().order_by(self._row.c.id))

    def ticks(self, id: str, limit: int = 20) -> list[Tick]:
        """The last entries of a recurring job's history, newest first."""
        if not is_storable(id):
            return []
        tick = self._tick.c
        names = list(Tick.__dataclass_fields__)
        statement = (
            sa.select(*(tick[name] for name in names))
            .where(tick.recurring_id == id)
            .order_by(tick.id.desc())
            .limit(limit)
        )
        with self._database.connect() as connection:
            return [Tick(**dict(row)) for row in connection.execute(statement).mappings()]

    def _select(self) -> sa.Select[Any]:
        job = self._database.tables.job.c
        return sa.select(
            self._row,
            sa.case(
                ((job.state == "Enqueued") & (job.run_at > now()), "Scheduled"), else_=job.state
            ).label("last_job_state"),
            job.created_at.label("last_job_at"),
        ).outerjoin(self._database.tables.job, job.id == self._row.c.last_job_id)

    def _read(self, statement: sa.Select[Any]) -> list[RecurringJob]:
        with self._database.connect() as connection:
            rows = connection.execute(statement).all()
        found = []
        for row in rows:
            args, kwargs = read_arguments(row.arguments)
            found.append(
                RecurringJob(
                    id=row.id,
                    task=row.task,
                    args=args,
                    kwargs=kwargs,
                    queue=row.queue,
                    priority=row.priority,
                    cron=row.cron,
                    timezone=row.timezone,
                    paused=row.paused,
                    created_at=row.created_at,
                    updated_at=row.updated_at,
                    next_at=row.next_at,
                    last_due=row.last_due,
                    last_job_id=row.last_job_id,
                    last_job_state=(
                        None if row.last_job_state is None else JobState(row.last_job_state)
                    ),
                    last_job_at=row.last_job_at,
                )
            )
        return found

    # -- ticking

    def nearest(
        self, connection: sa.Connection, tasks: Sequence[str], without: Collection[str] = ()
    ) -> tuple[datetime, datetime | None]:
        """The database's time, and when the first recurring job of these tasks is due.

        :param without: ids of recurring jobs to look past.
        """
        row = self._row.c
        statement = (
            sa.select(now(), row.next_at)
            .where(row.next_at.is_not(None), row.task.in_(tasks), *self._but(without))
            .order_by(row.next_at)
            .limit(1)
        )
        found = connection.execute(statement).first()
        return (found[0], found[1]) if found else (self._database.clock(connection), None)

    def lock_due(
        self,
        connection: sa.Connection,
        tasks: Sequence[str],
        limit: int,
        without: Collection[str] = (),
    ) -> list[DueRow]:
        """Lock due recurring jobs of these tasks, stepping over those that others have locked.

        Call it within a transaction.

        :param without: ids of recurring jobs to look past.
        """
        row = self._row.c
        columns = [row[name] for name in DueRow.__dataclass_fields__ if name != "now"]
        statement = (
            sa.select(*columns, now().label("now"))
            .where(row.next_at.is_not(None), row.next_at <= now(), row.task.in_(tasks))
            .where(*self._but(without))
            .order_by(row.next_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return [DueRow(**found) for found in connection.execute(statement).mappings()]

    def _but(self, without: Collection[str]) -> list[sa.ColumnElement[bool]]:
        return [self._row.c.id.not_in(sorted(without))] if without else []

    def write_ticks(self, connection: sa.Connection, due: Sequence[Due]) -> None:
        """Write ticks with their jobs and move the rows on, within the same transaction."""
        self._database.driver.write_ticks(connection, due)

    def purge_ticks(self, connection: sa.Connection, older_than: timedelta) -> None:
        """Forget history longer ago."""
        connection.execute(
            sa.delete(self._tick).where(self._tick.c.created_at < now(-older_than.total_seconds()))
        )


def next_tick(cron: str, timezone: str, after: datetime) -> datetime | None:
    """The first due time later than ``after``, None if there is no other."""
    return CronExpression(cron).next(after, ZoneInfo(timezone))


def unknown(id: str) -> UnknownRecurringJobError:
    """The error for an id that no recurring job has."""
    return UnknownRecurringJobError(f"there is no recurring job with the id {id!r}")
