"""What live servers declare: a list for each version of an application's code that is running.

A list is kept once, under its own hash, however many servers declare it and however long it is;
a server's row has the hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from .._recurring.definition import Definition, fingerprint
from .database import Database
from .expiry import Expiry
from .types import now

UNUSED = 7 * 86400.0
"""Seconds that a list is kept that no server uses."""


class Manifests:
    """The manifest table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._manifest = database.tables.manifest

    def write(self, connection: sa.Connection, definitions: Sequence[Definition]) -> str:
        """Keep the list of these definitions, and return its key."""
        declares = {
            definition.id: fingerprint(definition.declared())
            for definition in sorted(definitions, key=lambda definition: definition.id)
        }
        text = msgspec.json.encode(declares).decode()
        key = fingerprint(text)
        statement = self._database.insert(self._manifest).values(
            id=key, declares=text, used_at=now()
        )
        with self._database.driver.writing(connection):
            connection.execute(
                statement.on_conflict_do_update(index_elements=["id"], set_={"used_at": now()})
            )
        return key

    def in_use(self, connection: sa.Connection) -> frozenset[str]:
        """The keys of the lists of live servers."""
        server = self._database.tables.server.c
        statement = (
            sa.select(server.manifest)
            .distinct()
            .where(server.stopped_at.is_(None), server.manifest.is_not(None))
        )
        return frozenset(connection.execute(statement).scalars())

    def read(self, connection: sa.Connection, keys: Iterable[str]) -> Mapping[str, set[str]]:
        """The hashes under which these lists declare each recurring job, by its id."""
        manifest = self._manifest.c
        statement = sa.select(manifest.declares).where(manifest.id.in_(list(keys)))
        found: dict[str, set[str]] = {}
        for text in connection.execute(statement).scalars():
            for id, declaration in msgspec.json.decode(text, type=dict[str, str]).items():
                found.setdefault(id, set()).add(declaration)
        return found

    def living(self, connection: sa.Connection) -> Mapping[str, set[str]]:
        """The hashes under which live servers declare each recurring job, by its id."""
        return self.read(connection, self.in_use(connection))

    def expiry(self) -> Expiry:
        """Lists that no server has used for long, and no live one does."""
        server, manifest = self._database.tables.server.c, self._manifest.c
        used = sa.exists().where(server.manifest == manifest.id, server.stopped_at.is_(None))
        old = (manifest.used_at < now(-UNUSED)) & ~used
        return Expiry(self._database, self._manifest, old, by_age=False)
