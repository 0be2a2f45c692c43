"""The server's row in the database, and what its application's code declares.

The row is written before the first declaration, and names all of them: whoever sees a declaration
in the database sees, too, that there is a server that declares it.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable

import sqlalchemy as sa

from .._log.logger import logger
from .._store import DedicatedConnection, NewServer, Notification, Store, Topic
from .config import ServerConfig
from .declarations import Declarations


class Registration:
    """Registers the server, writes what its code declares, and deregisters it at the end."""

    def __init__(
        self,
        store: Store,
        declarations: Declarations,
        config: ServerConfig,
        *,
        tasks: Callable[[], tuple[str, ...]],
    ) -> None:
        self.id = 0
        """The id of the server's row; 0 before there is one."""
        self.name = config.name or f"{socket.gethostname()}:{os.getpid()}"
        self._store = store
        self._declarations = declarations
        self._config = config
        self._tasks = tasks

    def register(self, connection: sa.Connection) -> None:
        """Write a row: the first one, or a new one after others took this server for dead."""
        new = NewServer(
            name=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            application=self._config.application,
            version=self._config.version,
            threads=self._config.threads,
            queues=self._config.queues,
            tasks=self._tasks(),
            manifest=self._store.manifests.write(connection, self._declarations.all()),
            lease=self._config.lease,
        )
        self.id = self._store.servers.register(connection, new)

    def declare(self, connection: sa.Connection) -> None:
        """Say what the code declares, and only then write it."""
        manifest = self._store.manifests.write(connection, self._declarations.all())
        self._store.servers.declare(connection, self.id, manifest)
        self._declarations.take_charge(connection)

    def deregister(self, dedicated: DedicatedConnection) -> None:
        """Close the row. If that fails, the others find the server dead."""
        if not self.id:
            return
        driver = self._store.database.driver
        try:
            with dedicated.use() as connection:
                # What should not be here any more, and is by a reply that was lost.
                left = self._store.jobs.claimed_by(connection, self.id)
                if left:
                    driver.release(connection, left)
                self._store.servers.deregister(connection, self.id)
                driver.notify(connection, Notification(Topic.ANY))
        except Exception as error:
            logger.warning("Server %s could not deregister: %s", self.name, error)


class Declaring:
    """Writes the declarations again when there is a new one. See ``periodic_loop.PeriodicTask``."""

    name = "Writing recurring jobs"

    def __init__(self, registration: Registration) -> None:
        self.next_at = math.inf
        self._registration = registration

    def perform(self, connection: sa.Connection) -> None:
        """Write them."""
        self._registration.declare(connection)
        self.next_at = math.inf
