"""All state, in one database, behind one object for each noun. Knows no Flask.

``Store`` is what the rest of the package holds. ``database`` and ``driver`` say how it talks to
PostgreSQL and SQLite, ``schema`` and ``migrations`` what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from .audit import APPLICATION, Audit
from .capped_count import CappedCount
from .console import (
    ROW_LINES,
    ConsoleBar,
    ConsoleLine,
    Consoles,
    NewLine,
    lines_row,
    row_lines,
)
from .database import Database
from .dedicated import DedicatedConnection
from .engine import create_engine, in_memory
from .errors import ErrorKind, StoreUnavailable, StoreUnusable, describe
from .jobs import Jobs
from .listing import LOOK
from .maintenance_lock import MaintenanceLocks
from .manifests import Manifests
from .migrations import owns
from .notification import Notification, Topic
from .page import Cursor, Page
from .queues import Queues
from .records import ConsoleRow, NewJob, Tally
from .recurring import Bookmark, Order, Recurring, RecurringPage
from .rescue import Rescue
from .servers import Lease, NewServer, ServerInfo, Servers
from .sqlite.savepoints import begin_at_savepoints
from .states import LISTED
from .statistics import Minute, Statistics

__all__ = [
    "APPLICATION",
    "LISTED",
    "LOOK",
    "ROW_LINES",
    "Bookmark",
    "CappedCount",
    "ConsoleBar",
    "ConsoleLine",
    "ConsoleRow",
    "Cursor",
    "Database",
    "DedicatedConnection",
    "ErrorKind",
    "Lease",
    "Minute",
    "NewJob",
    "NewLine",
    "NewServer",
    "Notification",
    "Order",
    "Page",
    "Recurring",
    "RecurringPage",
    "Rescue",
    "ServerInfo",
    "Store",
    "StoreUnavailable",
    "StoreUnusable",
    "Tally",
    "Topic",
    "begin_at_savepoints",
    "create_engine",
    "describe",
    "in_memory",
    "lines_row",
    "row_lines",
]


class Store:
    """The nouns of one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._listeners: list[Callable[[Notification], None]] = []
        self.jobs = Jobs(database, self.notify)
        self.recurring = Recurring(database, self.notify)
        self.console = Consoles(database)
        self.servers = Servers(database)
        self.manifests = Manifests(database)
        self.queues = Queues(database)
        self.statistics = Statistics(database)
        self.audit = Audit(database)
        self.maintenance_locks = MaintenanceLocks(database)

    def prepare(self) -> None:
        """Create or migrate the tables, once per process: see ``Database.prepare``."""
        self.database.prepare()

    def owns(self, table: str, schema: str | None) -> bool:
        """True if a table of this name, in a schema or the default one, is one of the package's."""
        return owns(self.database, table, schema)

    def now(self) -> datetime:
        """The database's time."""
        with self.database.connect() as connection:
            return self.database.clock(connection)

    @property
    def description(self) -> str:
        """Name, version and place of the database, without secrets."""
        with self.database.connect() as connection:
            return self.database.driver.describe(connection, self.database.engine.url)

    def subscribe(self, listener: Callable[[Notification], None]) -> None:
        """Call ``listener`` with the notifications of this process."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Callable[[Notification], None]) -> None:
        """End what ``subscribe`` began."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def after_fork(self) -> None:
        """Forget, in a child process, the parent's connections, locks and listeners."""
        self._listeners.clear()
        self.database.after_fork()

    def notify(self, notification: Notification) -> None:
        """Pass a notification on inside this process."""
        for listener in tuple(self._listeners):
            listener(notification)
