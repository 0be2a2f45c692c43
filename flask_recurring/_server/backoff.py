"""How long a loop waits after an error, and how often it speaks of it."""

from __future__ import annotations

import logging

from .._log.logger import logger
from .._random import rng
from .._store import ErrorKind, describe

FIRST = 0.1
LONGEST = 3.0
"""Seconds: a database that comes back is found within this time."""


class Backoff:
    """Pauses that grow with each failure in a row, reported once and again when it is over.

    An outage is a line of the log. Whatever else it is, the line comes with its traceback, and
    again for each other kind of failure that follows in the same row.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures = 0
        self._logged: set[ErrorKind] = set()

    def failed(self, error: BaseException) -> float:
        """Note a failure; returns the seconds to wait before the next try."""
        self._failures += 1
        failure = ErrorKind.of(error)
        if failure not in self._logged:
            self._logged.add(failure)
            logger.log(
                logging.WARNING if failure.passing else logging.ERROR,
                "%s: %s. Trying again until it works.",
                self._what,
                describe(error),
                exc_info=None if failure.passing else error,
            )
        longest = min(LONGEST, FIRST * 2 ** min(self._failures - 1, 10))
        return rng.uniform(longest / 2, longest)

    def succeeded(self) -> None:
        """Note that it works."""
        if self._failures:
            logger.warning("%s: works again after %d failures.", self._what, self._failures)
            self._failures = 0
            self._logged.clear()
