"""How definitions come to be rows: any number in one go, by any number of processes at once.

**Nothing changed, nothing written.** What is there is read first, without a lock. Only what differs
is looked at again, by one process at a time, and written in one transaction.

**Who is right?** Of two applications, and of calls at run time, the last word stands. Versions of
the *same* code (the task is the same) are told apart, so that during a deployment the old servers
and the new ones don't undo one another's changes: a declaration that another took the place of
does not come back while a live server declares the present one. When none does any more, the
deployment was taken back, and the old declaration stands again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from ..._recurring.definition import Definition, fingerprint
from ..._recurring.schedule import Schedule, read_schedule
from ...errors import ConfigurationError
from ..audit import APPLICATION, entries_of
from ..chunks import chunked
from ..manifests import Manifests
from ..notification import Notification, Topic
from ..text import first_unfit
from .table import (
    ORPHANED,
    RecurringTable,
    changed,
    columns,
    decoded,
    go_on,
)

CHUNK = 500
"""Rows that are asked for by one statement."""

REMEMBERED = 10
"""Earlier declarations of a recurring job that are told from new ones."""

FIXED_ZONES = frozenset({"UTC", "Etc/UTC"})
"""Zones whose rules never change."""

Wanted = Mapping[str, tuple[Definition, str]]
"""Definitions by id, with their JSON texts."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What became of an application's declarations."""

    written: int
    """How many were new, or differed from what was there."""
    refused: frozenset[str]
    """Ids of those in whose place a live server declares another version of the code."""


@dataclass(frozen=True, slots=True)
class _Author:
    """Who says it: code or a call at run time, and of which application's server."""

    code: bool
    application: str | None = None
    actor: str = APPLICATION
    """For the audit: who made the call."""

    @property
    def stays_out(self) -> bool:
        """Whether it has no say in whose the row is."""
        return self.code and self.application is None


@dataclass(slots=True)
class _Changes:
    """What is to be written about rows that differ."""

    inserts: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


class Definitions(RecurringTable):
    """Writes what code and calls at run time say."""

    def save(self, definitions: Sequence[Definition], actor: str = APPLICATION) -> int:
        """Write definitions of calls at run time; returns how many were new or differed.

        An unchanged one writes nothing, so a tick that has fallen due meanwhile still comes.
        Another schedule sets the next tick from now on. What an operator overrode stays so.
        """
        return self._write(definitions, _Author(code=False, actor=actor)).written

    def declare(
        self,
        definitions: Sequence[Definition],
        application: str | None = None,
        connection: sa.Connection | None = None,
    ) -> Declared:
        """Write definitions of an application's code, as ``save`` does.

        :param application: its name, if one of its servers declares them: then they stop when none
            does any more (see ``orphans``). A process without a server can't tell when its code
            has gone, so what it alone declares stays.
        :param connection: the server's own; None for one of the pool.
        """
        author = _Author(code=True, application=application)
        if connection is not None:
            return self._write_on(connection, definitions, author)
        return self._write(definitions, author)

    def _write(self, definitions: Sequence[Definition], author: _Author) -> Declared:
        with self._database.connect() as connection:
            return self._write_on(connection, definitions, author)

    def _check_names(self, definitions: Sequence[Definition]) -> None:
        codec = self._database.codec
        for definition in definitions if codec is not None else ():
            for what, name in (("id", definition.id), ("task", definition.task)):
                if (unfit := first_unfit(name, codec)) is not None:
                    raise ConfigurationError(
                        f"the {what} {name!r} can't be kept: the database's encoding is {codec}, "
                        f"which has no {unfit!r}; take another name, or a database in UTF8"
                    )

    def _write_on(
        self, connection: sa.Connection, definitions: Sequence[Definition], author: _Author
    ) -> Declared:
        self._check_names(definitions)
        wanted = {definition.id: (definition, definition.declared()) for definition in definitions}
        moment = self._database.clock(connection)
        differing, corrections = self._compare(connection, wanted, moment, author)
        if not differing and not corrections:
            return Declared(0, frozenset())
        for id in differing:
            wanted[id][0].schedule()  # refused, if at all, before anything is written
        with self._database.driver.transaction(connection):
            # One at a time: then nobody waits for a row that another one inserts.
            self._database.driver.exclude(connection, "definitions")
            changes = self._changes(connection, wanted, differing, author)
            if changes.inserts:
                connection.execute(sa.insert(self._row), changes.inserts)
            self._update(connection, changes.updates)
            if not author.code:
                self._record(connection, changes, author.actor)
            written = len(changes.inserts) + len(changes.updates)
            written += self._correct(connection, corrections)
            if written:
                self._database.driver.notify(connection, Notification(Topic.SCHEDULE))
        if written:
            self._notify(Notification(Topic.SCHEDULE))
        return Declared(written, frozenset(changes.refused))

    def _compare(
        self,
        connection: sa.Connection,
        wanted: Wanted,
        moment: datetime,
        author: _Author,
    ) -> tuple[list[str], list[dict[str, Any]]]:
        """The ids of those that differ from their rows, in order; and next ticks to be corrected
        of those that don't."""
        row = self._row.c
        differing, corrections = set(wanted), []
        read = sa.select(
            *(row.id, row.declared, row.application, row.orphaned_at),
            *(row.next_at, row.cron, row.timezone, row.start_at, row.end_at),
        )
        for found in self._read_by_id(connection, read, wanted):
            if _stands(found, wanted[found.id][1], author):
                differing.discard(found.id)
                corrections += correction(found, moment)
        return sorted(differing), corrections

    def _read_by_id(
        self, connection: sa.Connection, statement: sa.Select[Any], ids: Iterable[str]
    ) -> Iterator[sa.Row[Any]]:
        for chunk in chunked(sorted(ids), CHUNK):
            # The ids stand in the text, so that it is planned anew each time: prepared while the
            # table was empty, it would go on to read the whole table for each chunk.
            named: sa.BindParameter[Any] = sa.bindparam(
                "ids", chunk, expanding=True, literal_execute=True
            )
            yield from connection.execute(statement.where(self._row.c.id.in_(named)))

    def _changes(
        self,
        connection: sa.Connection,
        wanted: Wanted,
        ids: Sequence[str],
        author: _Author,
    ) -> _Changes:
        changes = _Changes()
        moment = self._database.clock(connection)
        lock = sa.select(self._row).order_by(self._row.c.id).with_for_update()
        rows = {row.id: row for row in self._read_by_id(connection, lock, ids)}
        living: Mapping[str, set[str]] | None = None
        for id in ids:
            new, text = wanted[id]
            row = rows.get(id)
            if row is None:
                changes.inserts.append(_fresh(new, text, moment, author))
                continue
            if _stands(row, text, author):
                continue  # another process was faster
            superseded = decoded_list(row.superseded)
            if author.code and row.task == new.task and row.declared != text:
                mine, present = fingerprint(text), fingerprint(row.declared)
                if mine in superseded:
                    if living is None:
                        living = Manifests(self._database).living(connection)
                    if present in living.get(id, ()):
                        changes.refused.add(id)
                        continue
                superseded = [one for one in [present, *superseded] if one != mine]
            changes.updates.append(
                _rewritten(row, new, text, moment, author)
                | {"superseded": encoded_list(superseded[:REMEMBERED])}
            )
        return changes

    def _record(self, connection: sa.Connection, changes: _Changes, actor: str) -> None:
        acts = (
            ("recurring.add", [(row["id"], row["declared"]) for row in changes.inserts]),
            ("recurring.update", [(row["row_id"], row["declared"]) for row in changes.updates]),
        )
        for action, entries in acts:
            if entries:
                connection.execute(*entries_of(self._audit, actor, action, entries))

    def _update(self, connection: sa.Connection, updates: Sequence[dict[str, Any]]) -> None:
        if updates:
            values: dict[str, Any] = {
                name: sa.bindparam(name) for name in updates[0] if name != "row_id"
            }
            statement = sa.update(self._row).where(self._row.c.id == sa.bindparam("row_id"))
            connection.execute(statement.values(values), list(updates))

    def _correct(self, connection: sa.Connection, corrections: Sequence[dict[str, Any]]) -> int:
        """Set next ticks right, unless somebody has moved them meanwhile."""
        if corrections:
            row = self._row.c
            connection.execute(
                sa.update(self._row)
                .where(row.id == sa.bindparam("row_id"), row.next_at == sa.bindparam("wrong"))
                .values(next_at=sa.bindparam("right")),
                list(corrections),
            )
        return len(corrections)

    def recheck(
        self, connection: sa.Connection, tasks: Sequence[str], after: str, limit: int
    ) -> str | None:
        """Set next ticks right that other rules of time zones gave, of rows that no code declares.

        Looks at ``limit`` rows of these tasks with ids after ``after``; returns the last id that it
        looked at, None at the end.
        """
        row = self._row.c
        found = connection.execute(
            sa.select(row.id, row.next_at, row.cron, row.timezone, row.start_at, row.end_at)
            .where(row.id > after, row.task.in_(tasks), row.application.is_(None))
            .order_by(row.id)
            .limit(limit)
        ).all()
        moment = self._database.clock(connection)
        corrections = [one for row in found for one in correction(row, moment)]
        if corrections:
            with self._database.driver.transaction(connection):
                self._correct(connection, corrections)
                self._database.driver.notify(connection, Notification(Topic.SCHEDULE))
        return found[-1].id if len(found) == limit else None


def correction(row: Any, moment: datetime) -> list[dict[str, Any]]:
    """The change, if one is needed, of a next tick that lies ahead and isn't what the rules of
    today say: an update of time zones can move it."""
    if row.next_at is None or row.next_at <= moment or row.timezone in FIXED_ZONES:
        return []
    try:
        schedule: Schedule = read_schedule(row.cron, row.timezone, row.start_at, row.end_at)
    except ValueError:
        return []  # a newer version wrote it
    right = schedule.next(moment)
    return (
        [] if right == row.next_at else [{"row_id": row.id, "wrong": row.next_at, "right": right}]
    )


def _stands(row: sa.Row[Any], text: str, author: _Author) -> bool:
    """Whether the row has this declaration of this kind of author already.

    The same from two applications, one that serves and one that works for instance, is the first
    one's.
    """
    if row.declared != text:
        return False
    if author.stays_out:
        return True
    return row.orphaned_at is None and (row.application is None) == (author.application is None)


def _fresh(new: Definition, text: str, moment: datetime, author: _Author) -> dict[str, Any]:
    return columns(new) | {
        "id": new.id,
        "declared": text,
        "application": author.application,
        "next_at": new.schedule().next(moment),
        "created_at": moment,
        "updated_at": moment,
    }


def _rewritten(
    row: sa.Row[Any],
    new: Definition,
    text: str,
    moment: datetime,
    author: _Author,
) -> dict[str, Any]:
    """The columns of a row that was given another definition, or has found its code again."""
    overrides = decoded(row.overrides)
    definition = Definition.of(new.id, new.fields(), overrides) if overrides else new
    values = changed(row, definition, moment) | {"absence": row.absence}
    values |= {"application": row.application, "orphaned_at": row.orphaned_at}
    if not author.stays_out:
        if row.orphaned_at is not None and not row.paused:
            values |= go_on(row, values["held_at"], ORPHANED, moment)
        values |= {"application": author.application, "orphaned_at": None}
    return values | {"row_id": new.id, "declared": text, "updated_at": moment}


def decoded_list(text: str | None) -> list[str]:
    return [] if text is None else msgspec.json.decode(text, type=list[str])


def encoded_list(items: Sequence[str]) -> str | None:
    return msgspec.json.encode(items).decode() if items else None
