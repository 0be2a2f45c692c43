"""Jobs within the transaction of a SQLAlchemy session: they exist if, and only if, it commits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, SessionTransaction

from ..errors import ConfigurationError
from ..job import Job
from .database import Database
from .errors import StoreUnavailable
from .insertion import Insertion, fitting
from .notification import Notification
from .records import NewJob
from .spool import Spool
from .sqlite.savepoints import begin_at_savepoints, may_escape

if TYPE_CHECKING:
    from sqlalchemy.orm import scoped_session

PENDING = "flask_recurring.pending"
"""Key of the pending notifications in a session's ``info``."""


class SessionJobs:
    """Writes jobs by a session's own connection.

    :param session: a ``Session`` or a ``scoped_session``.
    :raises ConfigurationError: it is none, or it belongs to another database.
    """

    def __init__(
        self, database: Database, jobs: Insertion, session: Session | scoped_session[Any]
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._session = _session(session)
        self._bind = self._session.get_bind(clause=sa.insert(database.tables.job))
        self._check_same_database(self._bind.engine)

    def write(self, job: NewJob) -> Job:
        """Write one job.

        :raises StoreUnavailable: the tables are not there, and can't be made now.
        """
        new = self._jobs.write(self._connection(), job)
        if (notification := job.notification) is not None:
            self._tell_at_commit([notification])
        return new

    def write_many(self, jobs: Iterable[NewJob]) -> list[int]:
        """Write any number of jobs, likewise and all or none; returns their ids in order."""
        if not self._database.prepared:
            self._connection()
        codec = self._database.carried_codec
        with Spool(jobs if codec is None else (fitting(job, codec) for job in jobs)) as spool:
            if not spool:
                return []
            # Not before: whoever made the jobs may have ended the session's transaction meanwhile.
            ids = self._jobs.write_many(self._connection(), spool)
            self._tell_at_commit(spool.notifications)
            return ids

    def _connection(self) -> sa.Connection:
        """The session's connection, in a transaction."""
        begin_at_savepoints(self._bind.engine)
        connection = self._session.connection(bind_arguments={"bind": self._bind})
        if may_escape(connection):
            raise ConfigurationError(
                "the session's savepoint may be outside of its transaction, since Python's sqlite3 "
                "begins none before a savepoint; then a rollback would not undo the job. Set "
                "isolation_level to None and begin transactions by SQLAlchemy's event, as "
                "the documentation says under Deployment, SQLite; or write before the savepoint"
            )
        if not self._database.prepared:
            self._check_tables(connection)
            self._database.prepare()
        return connection

    def _tell_at_commit(self, notifications: Iterable[Notification]) -> None:
        """Other processes hear of it from the database when it commits; this one, from here."""
        Pending.of(self._session).add(self._session, self._jobs, notifications)

    def _check_same_database(self, engine: sa.Engine) -> None:
        mine, theirs = self._database.engine.url, engine.url
        if mine.host is None and mine.database is None:
            return  # a connection factory: only it knows where it connects to
        place = [
            (url.get_backend_name(), url.host, url.port, url.database) for url in (mine, theirs)
        ]
        if place[0] != place[1]:
            raise ConfigurationError(
                "the session belongs to another database "
                f"({theirs.render_as_string(hide_password=True)}) than the jobs "
                f"({mine.render_as_string(hide_password=True)}), so one transaction can't hold both"
            )

    def _check_tables(self, connection: sa.Connection) -> None:
        """Refuse to wait for what can't come: SQLite makes no tables while a transaction is open,
        and this one stays open until they are made."""
        if connection.dialect.name != "sqlite":
            return
        driver: Any = connection.connection.dbapi_connection
        table = self._database.tables.job.name
        if driver.in_transaction and not sa.inspect(connection).has_table(table):
            raise StoreUnavailable(
                "the jobs' tables are not there yet, and SQLite can't make them while the "
                "session's transaction is open: run 'flask recurring init-db' first"
            )


class Pending:
    """What this process is to be told when a session's transaction commits.

    Kept for each level of the transaction: a savepoint that is rolled back drops what was written
    within, one that is released hands it up, and the outermost commit tells.
    """

    def __init__(self, session: Session) -> None:
        self._levels: dict[SessionTransaction, set[tuple[Insertion, Notification]]] = {}
        sa.event.listen(session, "after_commit", self._committed)
        sa.event.listen(session, "after_transaction_end", self._ended)

    @classmethod
    def of(cls, session: Session) -> Pending:
        """The session's. Made once for its life, however much it enqueues."""
        pending: Pending | None = session.info.get(PENDING)
        if pending is None:
            session.info[PENDING] = pending = cls(session)
        return pending

    def add(self, session: Session, jobs: Insertion, notifications: Iterable[Notification]) -> None:
        """Note what was written at the present level of the session's transaction."""
        self._levels.setdefault(_level(session), set()).update(
            (jobs, notification) for notification in notifications
        )

    def _committed(self, session: Session) -> None:
        # Called before the level ends, for savepoints too.
        level = _level(session)
        noted = self._levels.pop(level, None)
        if noted is None:
            return
        above = _above(level)
        if above is not None:
            self._levels.setdefault(above, set()).update(noted)
            return
        for jobs, notification in noted:
            jobs.notify([notification])

    def _ended(self, session: Session, level: SessionTransaction) -> None:
        self._levels.pop(level, None)


def _session(given: Any) -> Session:
    session = given if isinstance(given, Session) or not callable(given) else given()
    if not isinstance(session, Session):
        raise ConfigurationError(
            "session takes a SQLAlchemy Session or scoped_session, for example db.session, not "
            f"{given!r}"
        )
    return session


def _level(session: Session) -> SessionTransaction:
    """The innermost savepoint, or the transaction itself."""
    level = session.get_nested_transaction() or session.get_transaction()
    assert level is not None
    return level


def _above(level: SessionTransaction) -> SessionTransaction | None:
    """The savepoint or the transaction around a level; what a flush begins is none."""
    above = level.parent
    while above is not None and not above.nested and above.parent is not None:
        above = above.parent
    return above
