"""All state, in one database, behind one object for each noun. Knows no Flask.

``Store`` is what the rest of the package holds. ``database`` and ``driver`` say how it talks to
PostgreSQL and SQLite, ``schema`` and ``migrations`` what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from .audit import APPLICATION, Audit
from .capped_count import Count
from .console import (
    ROW_LINES,
    ConsoleBar,
    ConsoleLine,
    Consoles,
    NewLine,
    entry_lines,
    lines_entry,
)
from .database import Database
from .engine import create_engine, in_memory
from .failure import Failure, StoreUnavailable, StoreUnusable, describe
from .jobs import Jobs
from .link import Link
from .listing import LOOK
from .maintenance_lock import Chores
from .manifests import Manifests
from .migrations import owns
from .notification import Hint, Topic
from .page import Cursor, Page
from .queues import Queues
from .records import Entry, NewJob, Tally
from .recurring import Bookmark, Order, Recurring, RecurringPage
from .rescue import Rescue
from .servers import Lease, NewServer, ServerInfo, Servers
from .sqlite.savepoints import begin_at_savepoints
from .statistics import Minute, Statistics, Totals

__all__ = [
    "APPLICATION",
    "LOOK",
    "ROW_LINES",
    "Bookmark",
    "ConsoleBar",
    "ConsoleLine",
    "Count",
    "Cursor",
    "Database",
    "Entry",
    "Failure",
    "Hint",
    "Lease",
    "Link",
    "Minute",
    "NewJob",
    "NewLine",
    "NewServer",
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
    "Totals",
    "begin_at_savepoints",
    "create_engine",
    "describe",
    "entry_lines",
    "in_memory",
    "lines_entry",
]


class Store:
    """The nouns of one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._listeners: list[Callable[[Hint], None]] = []
        self.jobs = Jobs(database, self.tell)
        self.recurring = Recurring(database, self.tell)
        self.console = Consoles(database)
        self.servers = Servers(database)
        self.manifests = Manifests(database)
        self.queues = Queues(database)
        self.statistics = Statistics(database)
        self.audit = Audit(database)
        self.chores = Chores(database)

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

    def subscribe(self, listener: Callable[[Hint], None]) -> None:
        """Call ``listener`` with the hints of this process."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Callable[[Hint], None]) -> None:
        """End what ``subscribe`` began."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def after_fork(self) -> None:
        """Forget, in a child process, the parent's connections, locks and listeners."""
        self._listeners.clear()
        self.database.after_fork()

    def tell(self, hint: Hint) -> None:
        """Pass a hint on inside this process."""
        for listener in tuple(self._listeners):
            listener(hint)
