"""The page for when the database can't serve, in words that are true for what is the matter."""

from __future__ import annotations

import logging
from typing import NamedTuple

from flask import Response, request

from .._store import ErrorKind, describe
from . import page

log = logging.getLogger("flask_recurring")

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods of requests that only look."""


class Words(NamedTuple):
    """What a page says. ``hint`` is code."""

    heading: str
    text: str
    hint: str | None = None


WORDS = {
    ErrorKind.UNREACHABLE: Words(
        "The database can't be reached",
        "Jobs wait where they are, and servers try again. This page comes back by itself.",
    ),
    ErrorKind.READ_ONLY: Words(
        "The database takes no writes",
        "It can only be read at present. New jobs are refused until that is over.",
    ),
    ErrorKind.FULL: Words(
        "The database has no room left",
        "New jobs are refused until there is some. The log says what it was that was full.",
    ),
    ErrorKind.BUSY: Words(
        "The database is held by others",
        "They kept what was needed for too long. This page tries again by itself.",
    ),
    ErrorKind.CONFLICT: Words(
        "The database gave way to others",
        "They were changing the same. This page tries again by itself.",
    ),
    ErrorKind.SLOW: Words(
        "The database took too long",
        "It did not answer in time. This page tries again by itself.",
    ),
    ErrorKind.MISSING: Words(
        "The tables are missing",
        "They are not in the database, or not all of them. This command makes what is missing:",
        "flask recurring init-db",
    ),
    ErrorKind.FORBIDDEN: Words(
        "The database refuses its user",
        "A right is missing; the log says which. All that are needed stand in the documentation, "
        "under Deployment, Rights.",
    ),
    ErrorKind.DAMAGED: Words(
        "The database is damaged",
        "What it holds can't be read, or it is no database. The log has its own words.",
    ),
    ErrorKind.UNFIT: Words(
        "This database can't hold jobs",
        "The log says why, and what would be right.",
    ),
    ErrorKind.DATA: Words(
        "The database refused a value",
        "Something in it can't be kept. The log has the database's own words.",
    ),
}

UNKNOWN = (
    "Whether what you asked for was done is not known: look before you do it again. "
    "This page goes back to the overview by itself."
)


def outage(error: Exception) -> Response:
    """503 when the database can't serve, 504 when it takes too long; the page tries again.

    A fault of the program goes on to whoever handles those: the application, the debugger, an
    error tracker.
    """
    failure = ErrorKind.of(error)
    if failure is ErrorKind.FAULT:
        raise error
    level = logging.WARNING if failure.passing else logging.ERROR
    log.log(level, "Dashboard: %s", describe(error), exc_info=None if failure.passing else error)
    heading, text, hint = WORDS[failure]
    looked = request.method in SAFE
    return page.message(
        heading,
        text if looked or not failure.passing else UNKNOWN,
        504 if failure is ErrorKind.SLOW else 503,
        hint,
        retry=True,
        again=None if looked else page.url("overview"),
    )
