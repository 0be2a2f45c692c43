"""Writes definitions into rows: any number at once, from any number of processes.

**What has not changed is not written.** All rows are first read without a lock. Those that differ
are read again under a lock that one process at a time holds, and written in one transaction.

**Which definition counts.** Between two applications, or calls at run time, the last one written
counts. Versions of the *same* code (the same task) are different: during a deployment, old and new
servers must not undo each other's changes. So a row remembers the declarations that were replaced.
One of these is refused while a live server declares the present one. When no server does any more,
the deployment was rolled back, and the old declaration is written again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from ..._recurring.definition import Definition, fingerprint
from ...errors import ConfigurationError
from ..audit import APPLICATION, entries_of
from ..chunks import chunked
from ..manifests import Manifests
from ..notification import Notification, Topic
from ..text import first_unfit
from .corrections import Corrections, correction
from .table import ORPHANED, changed, columns, decoded, resumed

CHUNK = 500
"""Rows that are asked for by one statement."""

REMEMBERED = 10
"""Replaced declarations that a row remembers."""

Wanted = Mapping[str, tuple[Definition, str]]
"""Definitions by id, with their JSON texts."""


@dataclass(frozen=True, slots=True)
class Declared:
    """The result of writing an application's declarations."""

    written: int
    """How many were new or differed from their rows."""
    refused: frozenset[str]
    """Ids of those that a live server declares in a newer version."""


@dataclass(frozen=True, slots=True)
class _Author:
    """Where definitions come from: code or a call at run time."""

    code: bool
    application: str | None = None
    """The application of the server that declares them; None for code without a server."""
    actor: str = APPLICATION
    """Who made the call, for the audit."""

    @property
    def owns_nothing(self) -> bool:
        """True if the row's application stays as it is."""
        return self.code and self.application is None


@dataclass(slots=True)
class _Changes:
    """What to write for rows that differ."""

    inserts: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


class Definitions(Corrections):
    """Writes the definitions of code and of calls at run time."""

    def save(self, definitions: Sequence[Definition], actor: str = APPLICATION) -> int:
        """Write definitions of calls at run time. Returns how many were new or differed.

        An unchanged one writes nothing, so a tick that is due already still happens. A new schedule
        computes the next tick from now on. Overrides of an operator stay.
        """
        return self._write(definitions, _Author(code=False, actor=actor)).written

    def declare(
        self,
        definitions: Sequence[Definition],
        application: str | None = None,
        connection: sa.Connection | None = None,
    ) -> Declared:
        """Write definitions of an application's code, as ``save`` does.

        :param application: its name, if one of its servers declares them. They stop when no server
            declares them any more (see ``orphans``). What only a process without a server declares
            stays, because that process can't tell when its code is removed.
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
        instant = self._database.clock(connection)
        differing, corrections = self._compare(connection, wanted, instant, author)
        if not differing and not corrections:
            return Declared(0, frozenset())
        for id in differing:
            wanted[id][0].schedule()  # raises before anything is written
        with self._database.driver.transaction(connection):
            # One process at a time, so that none waits for a row that another one inserts.
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
        instant: datetime,
        author: _Author,
    ) -> tuple[list[str], list[dict[str, Any]]]:
        """The ids of those that differ from their rows, in order, and the corrections of those
        that don't."""
        row = self._row.c
        differing, corrections = set(wanted), []
        read = sa.select(
            *(row.id, row.declared, row.application, row.orphaned_at),
            *(row.next_at, row.cron, row.timezone, row.start_at, row.end_at),
        )
        for found in self._read_by_id(connection, read, wanted):
            if _stands(found, wanted[found.id][1], author):
                differing.discard(found.id)
                corrections += correction(found, instant)
        return sorted(differing), corrections

    def _read_by_id(
        self, connection: sa.Connection, statement: sa.Select[Any], ids: Iterable[str]
    ) -> Iterator[sa.Row[Any]]:
        for chunk in chunked(sorted(ids), CHUNK):
            # The ids stand in the statement's text, so that it is planned each time. A plan that
            # was prepared while the table was empty would read the whole table for each chunk.
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
        instant = self._database.clock(connection)
        lock = sa.select(self._row).order_by(self._row.c.id).with_for_update()
        rows = {row.id: row for row in self._read_by_id(connection, lock, ids)}
        living: Mapping[str, set[str]] | None = None
        for id in ids:
            new, text = wanted[id]
            row = rows.get(id)
            if row is None:
                changes.inserts.append(_fresh(new, text, instant, author))
                continue
            if _stands(row, text, author):
                continue  # another process has written it meanwhile
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
                _rewritten(row, new, text, instant, author)
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


def _stands(row: sa.Row[Any], text: str, author: _Author) -> bool:
    """True if the row has this declaration of such an author already.

    Of two applications that declare the same, for instance one that serves and one that works, the
    row belongs to the first.
    """
    if row.declared != text:
        return False
    if author.owns_nothing:
        return True
    return row.orphaned_at is None and (row.application is None) == (author.application is None)


def _fresh(new: Definition, text: str, instant: datetime, author: _Author) -> dict[str, Any]:
    return columns(new) | {
        "id": new.id,
        "declared": text,
        "application": author.application,
        "next_at": new.schedule().next(instant),
        "created_at": instant,
        "updated_at": instant,
    }


def _rewritten(
    row: sa.Row[Any],
    new: Definition,
    text: str,
    instant: datetime,
    author: _Author,
) -> dict[str, Any]:
    """The columns of a row with another definition, or one whose code declares it again."""
    overrides = decoded(row.overrides)
    definition = Definition.of(new.id, new.fields(), overrides) if overrides else new
    values = changed(row, definition, instant) | {"absence": row.absence}
    values |= {"application": row.application, "orphaned_at": row.orphaned_at}
    if not author.owns_nothing:
        if row.orphaned_at is not None and not row.paused:
            values |= resumed(row, values["held_at"], ORPHANED, instant)
        values |= {"application": author.application, "orphaned_at": None}
    return values | {"row_id": new.id, "declared": text, "updated_at": instant}


def decoded_list(text: str | None) -> list[str]:
    return [] if text is None else msgspec.json.decode(text, type=list[str])


def encoded_list(items: Sequence[str]) -> str | None:
    return msgspec.json.encode(items).decode() if items else None
