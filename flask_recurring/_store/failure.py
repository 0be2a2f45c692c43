"""What an error of the database means, told once for loops, pages, commands and callers.

``Failure.of`` sorts an error, whichever driver it is of and whether SQLAlchemy wrapped it or not.
``describe`` puts it into a sentence that is true and says what can be done. ``for_callers`` gives
the exception that callers get in its place.
"""

from __future__ import annotations

import enum
import sqlite3

import psycopg
import sqlalchemy as sa

from ..errors import RecurringError


class Failure(enum.Enum):
    """What an error of the database means."""

    UNREACHABLE = enum.auto()
    """No connection, or none any more."""
    READ_ONLY = enum.auto()
    """It may only be read now."""
    FULL = enum.auto()
    """There is no room left, on its disk or for another connection."""
    BUSY = enum.auto()
    """Others held for too long what was to be written."""
    CONFLICT = enum.auto()
    """It came in the way of another's transaction, and nothing of it was done: again, then."""
    SLOW = enum.auto()
    """The answer, or a connection, took too long."""
    MISSING = enum.auto()
    """The tables are not there, or not all of them."""
    FORBIDDEN = enum.auto()
    """The database's user may not do it."""
    DAMAGED = enum.auto()
    """What the database has stored can't be read."""
    UNFIT = enum.auto()
    """The database can't hold what is to be kept in it."""
    DATA = enum.auto()
    """A value was refused. The same one will be refused again, another one may do."""
    FAULT = enum.auto()
    """Anything else: a fault of the program."""

    @property
    def passing(self) -> bool:
        """True for an outage: who waits and tries again does right."""
        return self in _PASSING

    @classmethod
    def of(cls, error: BaseException | None) -> Failure:
        """What the error means."""
        if isinstance(error, StoreUnavailable | StoreUnusable):
            return error.failure
        if isinstance(error, sa.exc.TimeoutError):
            return cls.SLOW  # the pool's: all its connections are in use
        if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
            return cls.UNREACHABLE
        if isinstance(error, sa.exc.StatementError) and error.orig is not None:
            return cls.of(error.orig)
        if isinstance(error, psycopg.Error):
            return _of_postgresql(error)
        if isinstance(error, sqlite3.Error):
            return _of_sqlite(error)
        # What drivers say themselves of a value that they can't send.
        return cls.DATA if isinstance(error, UnicodeError | OverflowError) else cls.FAULT


_PASSING = frozenset(
    {
        *(Failure.UNREACHABLE, Failure.READ_ONLY, Failure.FULL),
        *(Failure.BUSY, Failure.CONFLICT, Failure.SLOW),
    }
)

_WORDS = {
    Failure.UNREACHABLE: "the job database can't be reached: {}",
    Failure.READ_ONLY: "the job database takes no writes: {}",
    Failure.FULL: "the job database has no room left: {}",
    Failure.BUSY: "the job database is held by another process: {}",
    Failure.CONFLICT: "the job database gave way to another transaction: {}",
    Failure.SLOW: "the job database took too long: {}",
    Failure.MISSING: (
        "the jobs' tables are not in the database, or not all of them: {}; "
        "'flask recurring init-db' makes what is missing"
    ),
    Failure.FORBIDDEN: (
        "the database's user may not do what is needed: {}; "
        "which rights it needs stands in the documentation, under Deployment, Rights"
    ),
    Failure.DAMAGED: "the job database is damaged, or is no database: {}",
    Failure.UNFIT: "{}",
    Failure.DATA: "the job database refused a value: {}",
}


class StoreUnavailable(RecurringError):
    """The database can't be reached, went away during the call, or takes no writes now.

    What was asked for was not done, or it isn't known whether it was. It may work later.
    """

    failure = Failure.UNREACHABLE


class StoreUnusable(RecurringError):
    """The database answers, but can't serve as it is: its tables or the user's rights are missing,
    it is damaged, or it can't hold text.

    What was asked for was not done. To wait doesn't help; the message says what does.
    """

    failure = Failure.UNFIT


def for_callers(
    error: BaseException, failure: Failure | None = None
) -> StoreUnavailable | StoreUnusable | None:
    """The exception that callers get in place of the driver's; None if they get that one.

    :param failure: what the error means, where that is known better than from the error itself.
    """
    failure = failure or Failure.of(error)
    if failure in (Failure.DATA, Failure.FAULT):
        return None
    kind = StoreUnavailable if failure.passing else StoreUnusable
    instead = kind(_WORDS[failure].format(detail(error)))
    instead.failure = failure
    return instead


def describe(error: BaseException) -> str:
    """One line that says what happened and, where something can be done about it, what."""
    if isinstance(error, RecurringError):
        return detail(error)
    failure = Failure.of(error)
    if failure is Failure.FAULT:
        return f"{type(error).__name__}: {detail(error)}"
    return _WORDS[failure].format(detail(error))


def detail(error: BaseException) -> str:
    """The error's own words on one line, without the statement and without a full stop."""
    cause = error
    if isinstance(error, sa.exc.StatementError) and error.orig is not None:
        cause = error.orig
    # Not the whole of it: SQLAlchemy adds an address, psycopg a piece of the statement.
    words = str(
        cause.args[0] if isinstance(cause, sa.exc.SQLAlchemyError) and cause.args else cause
    )
    if isinstance(cause, psycopg.Error):
        words = cause.diag.message_primary or words
    return " ".join(words.split()).removesuffix(".")


def _of_postgresql(error: psycopg.Error) -> Failure:
    code = error.sqlstate
    if code is None:
        if isinstance(error, psycopg.DataError):
            return Failure.DATA
        return Failure.UNREACHABLE if isinstance(error, psycopg.OperationalError) else Failure.FAULT
    return _CODES.get(code) or _CLASSES.get(code[:2], Failure.FAULT)


_CLASSES = {
    "08": Failure.UNREACHABLE,
    "22": Failure.DATA,
    "23": Failure.DATA,
    "28": Failure.UNREACHABLE,  # who one says to be is not believed
    "40": Failure.CONFLICT,
    "53": Failure.FULL,
    "54": Failure.DATA,
    "57": Failure.UNREACHABLE,
}
"""By the first two characters of PostgreSQL's error codes."""

_CODES = {
    "25006": Failure.READ_ONLY,
    "25P03": Failure.UNREACHABLE,
    "3D000": Failure.UNREACHABLE,
    "3F000": Failure.MISSING,
    "42501": Failure.FORBIDDEN,
    "42703": Failure.MISSING,
    "42P01": Failure.MISSING,
    "55006": Failure.BUSY,
    "55P03": Failure.BUSY,
    "57014": Failure.SLOW,
    "58030": Failure.DAMAGED,
    "XX001": Failure.DAMAGED,
    "XX002": Failure.DAMAGED,
}
"""Those that mean something else than the rest of their class."""


def _of_sqlite(error: sqlite3.Error) -> Failure:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # The module's own: a value that it can't bind, or a misuse of it.
        return Failure.DATA if isinstance(error, sqlite3.DataError) else Failure.FAULT
    if code == sqlite3.SQLITE_ERROR and str(error).startswith(("no such table", "no such column")):
        return Failure.MISSING
    return _SQLITE.get(code & 0xFF, Failure.FAULT)


_SQLITE = {
    sqlite3.SQLITE_BUSY: Failure.BUSY,
    sqlite3.SQLITE_LOCKED: Failure.BUSY,
    sqlite3.SQLITE_INTERRUPT: Failure.SLOW,
    sqlite3.SQLITE_READONLY: Failure.READ_ONLY,
    sqlite3.SQLITE_FULL: Failure.FULL,
    sqlite3.SQLITE_CANTOPEN: Failure.UNREACHABLE,
    sqlite3.SQLITE_IOERR: Failure.UNREACHABLE,
    sqlite3.SQLITE_CORRUPT: Failure.DAMAGED,
    sqlite3.SQLITE_NOTADB: Failure.DAMAGED,
    sqlite3.SQLITE_PERM: Failure.FORBIDDEN,
    sqlite3.SQLITE_AUTH: Failure.FORBIDDEN,
    sqlite3.SQLITE_CONSTRAINT: Failure.DATA,
    sqlite3.SQLITE_TOOBIG: Failure.DATA,
    sqlite3.SQLITE_MISMATCH: Failure.DATA,
}
"""By SQLite's primary result codes."""
