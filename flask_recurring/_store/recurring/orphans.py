"""Recurring jobs that no code declares any more.

One that a decorator made belongs to the code of its application. When no live server has declared
it for a while it is marked as orphaned, and has no ticks. Its history and its next tick stay. When
it is declared again, its misfire policy decides about the ticks that it missed.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence

import sqlalchemy as sa

from ..chunks import chunked
from ..manifests import Manifests
from ..notification import Notification, Topic
from ..types import now
from .definitions import CHUNK
from .table import RecurringTable


class Orphans(RecurringTable):
    """Marks orphaned rows."""

    def undeclared(
        self,
        connection: sa.Connection,
        tasks: Sequence[str],
        application: str,
        declared: Container[str],
    ) -> list[str]:
        """Ids of what code made, this application's or for these tasks, and isn't declared."""
        row = self._row.c
        ids = connection.execute(
            sa.select(row.id).where(
                row.application.is_not(None),
                row.orphaned_at.is_(None),
                (row.application == application) | row.task.in_(tasks),
            )
        ).scalars()
        return [id for id in ids if id not in declared]

    def orphan(self, connection: sa.Connection, ids: Collection[str]) -> list[str]:
        """Mark those of them that no live server declares now; returns which were."""
        row = self._row.c
        marked: list[str] = []
        with self._database.driver.transaction(connection):
            # A server registers before it declares: it counts as living here, or declares later
            # and takes the mark away.
            self._database.driver.exclude(connection, "definitions")
            declared = Manifests(self._database).living(connection)
            for chunk in chunked(sorted(set(ids) - declared.keys()), CHUNK):
                statement = (
                    sa.update(self._row)
                    .where(
                        row.id.in_(chunk), row.application.is_not(None), row.orphaned_at.is_(None)
                    )
                    .values(
                        orphaned_at=now(),
                        held_at=sa.func.coalesce(row.next_at, row.held_at),
                        next_at=None,
                    )
                    .returning(row.id)
                )
                marked += connection.execute(statement).scalars()
        if marked:
            self._notify(Notification(Topic.SCHEDULE))
        return marked

    def orphaned(self, connection: sa.Connection) -> list[str]:
        """Ids of all that are marked."""
        row = self._row.c
        statement = sa.select(row.id).where(row.orphaned_at.is_not(None))
        return list(connection.execute(statement).scalars())
