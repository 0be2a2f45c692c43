"""What somebody does to a recurring job: pause, override, trigger, remove. The audit names who."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..._recurring.definition import Definition
from ...job import Job
from ..audit import APPLICATION, entry
from ..awaiting import APART
from ..job_value import written
from ..notification import Notification, Topic
from ..records import NewJob
from ..text import is_storable, storable
from ..transitions import Event
from ..types import now
from .table import (
    PAUSED,
    RecurringTable,
    changed,
    decoded,
    encoded,
    next_column,
    overrides_of,
    resumed,
    unknown,
)
from .ticks import options_of

LONGEST_REASON = 500


class RecurringCommands(RecurringTable):
    """Changes one recurring job."""

    def remove(self, id: str, actor: str = APPLICATION) -> None:
        """Delete a recurring job. Its jobs and its history stay."""
        if not is_storable(id):
            raise unknown(id)
        with self._database.begin() as connection:
            statement = sa.delete(self._row).where(self._row.c.id == id)
            if connection.execute(statement).rowcount == 0:
                raise unknown(id)
            connection.execute(entry(self._audit, actor, "recurring.remove", id))
            self._database.driver.notify(connection, Notification(Topic.SCHEDULE))
        self._notify(Notification(Topic.SCHEDULE))

    def pause(self, id: str, actor: str = APPLICATION) -> None:
        """Let the recurring job have no ticks until it is resumed."""

        def paused(row: sa.Row[Any], instant: datetime) -> dict[str, Any]:
            return {} if row.paused else _next_tick(row, row.next_at or row.held_at, True, instant)

        self._rewrite(id, paused, "recurring.pause", actor)

    def resume(self, id: str, actor: str = APPLICATION) -> None:
        """Let the recurring job tick again, from the tick at which it was paused.

        Its misfire policy decides about the ticks that it missed.
        """

        def ticking(row: sa.Row[Any], instant: datetime) -> dict[str, Any]:
            return _next_tick(row, row.held_at, False, instant) if row.paused else {}

        self._rewrite(id, ticking, "recurring.resume", actor)

    def override(
        self, id: str, values: dict[str, Any], dropped: Collection[str] = (), *, actor: str
    ) -> None:
        """Let these values count until they are reset, whatever the code says.

        :param values: JSON values by the names of the options, ``paused`` included.
        :param dropped: names of options of which the code's value is to count again.
        :raises ConfigurationError: together with the other values they make no schedule.
        """

        def with_these(overrides: dict[str, Any]) -> dict[str, Any]:
            return {k: v for k, v in overrides.items() if k not in dropped} | values

        self._override(id, with_these, "recurring.override", actor)

    def reset(self, id: str, names: Collection[str] | None = None, *, actor: str) -> None:
        """Let the code's values count again: of these options, or of all, ``paused`` included."""

        def without(overrides: dict[str, Any]) -> dict[str, Any]:
            return {k: v for k, v in overrides.items() if names is not None and k not in names}

        self._override(id, without, "recurring.reset", actor)

    def _override(
        self,
        id: str,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        action: str,
        actor: str,
    ) -> None:
        details: list[str] = []

        def overridden(row: sa.Row[Any], instant: datetime) -> dict[str, Any]:
            before = {"paused": False} | overrides_of(row)
            after = {"paused": False} | change(before)
            if after == before:
                return {}
            details.append(
                ", ".join(
                    f"{name}: {before.get(name)!r} → {after.get(name)!r}"
                    for name in sorted(before.keys() | after.keys())
                    if before.get(name) != after.get(name)
                )
            )
            paused = after.pop("paused")
            definition = Definition.of(id, decoded(row.declared), after)
            definition.check_schedule()
            values = changed(row, definition, instant) | {"overrides": encoded(after)}
            return values | _next_tick(row, values[next_column(row)], paused, instant)

        self._rewrite(id, overridden, action, actor, details)

    def _rewrite(
        self,
        id: str,
        values: Callable[[sa.Row[Any], datetime], dict[str, Any]],
        action: str,
        actor: str,
        details: Sequence[str] = (),
    ) -> None:
        """Write what ``values`` makes of the locked row, if anything, and the audit's entry.

        :param details: of the entry; ``values`` may add to it.
        """
        if not is_storable(id):
            raise unknown(id)
        with self._database.begin() as connection:
            found = connection.execute(
                sa.select(self._row).where(self._row.c.id == id).with_for_update()
            ).first()
            if found is None:
                raise unknown(id)
            instant = self._database.clock(connection)
            written = values(found, instant)
            if written:
                connection.execute(
                    sa.update(self._row)
                    .where(self._row.c.id == id)
                    .values(**written, updated_at=instant)
                )
                connection.execute(entry(self._audit, actor, action, id, *details))
                self._database.driver.notify(connection, Notification(Topic.SCHEDULE))
        self._notify(Notification(Topic.SCHEDULE))

    def trigger(self, id: str, actor: str = APPLICATION) -> Job:
        """Enqueue a run now, beside the ticks, and return its job. The next tick stays.

        If the overlap policy keeps runs apart, it awaits the end of a run that is active.

        :param actor: who wants it, for the history and the audit.
        """
        if not is_storable(id):
            raise unknown(id)
        with self._database.begin() as connection:
            row = connection.execute(
                sa.select(self._row).where(self._row.c.id == id).with_for_update()
            ).first()
            if row is None:
                raise unknown(id)
            awaits = row.overlap in APART and self._awaiting.needed(connection, id)
            new = NewJob(
                task=row.task,
                arguments=row.arguments,
                queue=row.queue,
                priority=row.priority,
                options=options_of(row.options, row.overlap),
                recurring_id=id,
            )
            notification = Notification(Topic.JOB, row.queue, row.priority)
            # Not by the insertion, which sends none shortly after another: this one may be needed
            # when the transaction commits.
            job = written(self._database, new, self._database.driver.insert(connection, new, None))
            if awaits:
                connection.execute(
                    sa.update(self._job)
                    .where(self._job.c.id == job.id)
                    .values(state=Event.AWAITED.target.value)
                )
                job = replace(job, state=Event.AWAITED.target)
            else:
                self._database.driver.notify(connection, notification)
            connection.execute(
                sa.insert(self._tick).values(
                    recurring_id=id,
                    due=None,
                    outcome="triggered",
                    reason=storable(f"by {actor}", LONGEST_REASON),
                    job_id=job.id,
                    created_at=now(),
                )
            )
            connection.execute(
                sa.update(self._row).where(self._row.c.id == id).values(last_job_id=job.id)
            )
            connection.execute(entry(self._audit, actor, "recurring.trigger", id, f"job {job.id}"))
        if not awaits:
            self._notify(notification)
        return job


def _next_tick(
    row: sa.Row[Any], next_at: datetime | None, paused: bool, instant: datetime
) -> dict[str, Any]:
    """The columns of a row that is to be paused or not, and whose next tick is ``next_at``."""
    if paused or row.orphaned_at is not None:
        return {"paused": paused, "held_at": next_at, "next_at": None}
    if row.paused:
        return {"paused": False} | resumed(row, next_at, PAUSED, instant)
    return {"next_at": next_at, "held_at": None}
