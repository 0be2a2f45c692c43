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


class ErrorKind(enum.Enum):
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
    def of(cls, error: BaseException | None) -> ErrorKind:
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
        *(ErrorKind.UNREACHABLE, ErrorKind.READ_ONLY, ErrorKind.FULL),
        *(ErrorKind.BUSY, ErrorKind.CONFLICT, ErrorKind.SLOW),
    }
)

_WORDS = {
    ErrorKind.UNREACHABLE: "the job database can't be reached: {}",
    ErrorKind.READ_ONLY: "the job database takes no writes: {}",
    ErrorKind.FULL: "the job database has no room left: {}",
    ErrorKind.BUSY: "the job database is held by another process: {}",
    ErrorKind.CONFLICT: "the job database gave way to another transaction: {}",
    ErrorKind.SLOW: "the job database took too long: {}",
    ErrorKind.MISSING: (
        "the jobs' tables are not in the database, or not all of them: {}; "
        "'flask recurring init-db' makes what is missing"
    ),
    ErrorKind.FORBIDDEN: (
        "the database's user may not do what is needed: {}; "
        "which rights it needs stands in the documentation, under Deployment, Rights"
    ),
    ErrorKind.DAMAGED: "the job database is damaged, or is no database: {}",
    ErrorKind.UNFIT: "{}",
    ErrorKind.DATA: "the job database refused a value: {}",
}


class StoreUnavailable(RecurringError):
    """The database can't be reached, went away during the call, or takes no writes now.

    What was asked for was not done, or it isn't known whether it was. It may work later.
    """

    failure = ErrorKind.UNREACHABLE


class StoreUnusable(RecurringError):
    """The database answers, but can't serve as it is: its tables or the user's rights are missing,
    it is damaged, or it can't hold text.

    What was asked for was not done. To wait doesn't help; the message says what does.
    """

    failure = ErrorKind.UNFIT


def for_callers(
    error: BaseException, failure: ErrorKind | None = None
) -> StoreUnavailable | StoreUnusable | None:
    """The exception that callers get in place of the driver's; None if they get that one.

    :param failure: what the error means, where that is known better than from the error itself.
    """
    failure = failure or ErrorKind.of(error)
    if failure in (ErrorKind.DATA, ErrorKind.FAULT):
        return None
    kind = StoreUnavailable if failure.passing else StoreUnusable
    instead = kind(_WORDS[failure].format(detail(error)))
    instead.failure = failure
    return instead


def describe(error: BaseException) -> str:
    """One line that says what happened and, where something can be done about it, what."""
    if isinstance(error, RecurringError):
        return detail(error)
    failure = ErrorKind.of(error)
    if failure is ErrorKind.FAULT:
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


def _of_postgresql(error: psycopg.Error) -> ErrorKind:
    code = error.sqlstate
    if code is None:
        if isinstance(error, psycopg.DataError):
            return ErrorKind.DATA
        return (
            ErrorKind.UNREACHABLE
            if isinstance(error, psycopg.OperationalError)
            else ErrorKind.FAULT
        )
    return _CODES.get(code) or _CLASSES.get(code[:2], ErrorKind.FAULT)


_CLASSES = {
    "08": ErrorKind.UNREACHABLE,
    "22": ErrorKind.DATA,
    "23": ErrorKind.DATA,
    "28": ErrorKind.UNREACHABLE,  # who one says to be is not believed
    "40": ErrorKind.CONFLICT,
    "53": ErrorKind.FULL,
    "54": ErrorKind.DATA,
    "57": ErrorKind.UNREACHABLE,
}
"""By the first two characters of PostgreSQL's error codes."""

_CODES = {
    "25006": ErrorKind.READ_ONLY,
    "25P03": ErrorKind.UNREACHABLE,
    "3D000": ErrorKind.UNREACHABLE,
    "3F000": ErrorKind.MISSING,
    "42501": ErrorKind.FORBIDDEN,
    "42703": ErrorKind.MISSING,
    "42P01": ErrorKind.MISSING,
    "55006": ErrorKind.BUSY,
    "55P03": ErrorKind.BUSY,
    "57014": ErrorKind.SLOW,
    "58030": ErrorKind.DAMAGED,
    "XX001": ErrorKind.DAMAGED,
    "XX002": ErrorKind.DAMAGED,
}
"""Those that mean something else than the rest of their class."""


def _of_sqlite(error: sqlite3.Error) -> ErrorKind:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # The module's own: a value that it can't bind, or a misuse of it.
        return ErrorKind.DATA if isinstance(error, sqlite3.DataError) else ErrorKind.FAULT
    if code == sqlite3.SQLITE_ERROR and str(error).startswith(("no such table", "no such column")):
        return ErrorKind.MISSING
    return _SQLITE.get(code & 0xFF, ErrorKind.FAULT)


_SQLITE = {
    sqlite3.SQLITE_BUSY: ErrorKind.BUSY,
    sqlite3.SQLITE_LOCKED: ErrorKind.BUSY,
    sqlite3.SQLITE_INTERRUPT: ErrorKind.SLOW,
    sqlite3.SQLITE_READONLY: ErrorKind.READ_ONLY,
    sqlite3.SQLITE_FULL: ErrorKind.FULL,
    sqlite3.SQLITE_CANTOPEN: ErrorKind.UNREACHABLE,
    sqlite3.SQLITE_IOERR: ErrorKind.UNREACHABLE,
    sqlite3.SQLITE_CORRUPT: ErrorKind.DAMAGED,
    sqlite3.SQLITE_NOTADB: ErrorKind.DAMAGED,
    sqlite3.SQLITE_PERM: ErrorKind.FORBIDDEN,
    sqlite3.SQLITE_AUTH: ErrorKind.FORBIDDEN,
    sqlite3.SQLITE_CONSTRAINT: ErrorKind.DATA,
    sqlite3.SQLITE_TOOBIG: ErrorKind.DATA,
    sqlite3.SQLITE_MISMATCH: ErrorKind.DATA,
}
"""By SQLite's primary result codes."""
