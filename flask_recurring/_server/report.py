"""What is said of an exception that ended a run: in the attempt's row, and in the log.

The exception is the job's, and so may be everything about it: its ``__str__``, the name of its
class. Whatever these do, there is something to say.
"""

from __future__ import annotations

import traceback
from typing import NamedTuple

LONGEST_TRACEBACK = 100_000


class Report(NamedTuple):
    """Kind, message and traceback of an exception, as plain text."""

    kind: str
    message: str
    traceback: str | None = None

    @property
    def summary(self) -> str:
        """Kind and message."""
        return f"{self.kind}: {self.message}" if self.message else self.kind

    @classmethod
    def of(cls, error: BaseException) -> Report:
        """Report the exception."""
        return cls(_kind(error), _message(error), _trace(error))


def _kind(error: BaseException) -> str:
    try:
        return _plain(type(error).__name__)
    except BaseException:
        return "(an exception whose name can't be shown)"


def _message(error: BaseException) -> str:
    try:
        return _plain(str(error))
    except BaseException as broken:  # somebody's __str__ may raise
        return f"(its message can't be shown: {_kind(broken)})"


def _trace(error: BaseException) -> str:
    # Without the first frame: it is the runner's, and says nothing about the job.
    inner = error.__traceback__.tb_next if error.__traceback__ is not None else None
    try:
        text = "".join(traceback.format_exception(type(error), error, inner))
    except BaseException as broken:
        return f"(the traceback can't be shown: {_kind(broken)})"
    if len(text) > LONGEST_TRACEBACK:
        half = LONGEST_TRACEBACK // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
    return text


def _plain(text: str) -> str:
    """The text itself, of a class derived from ``str`` too, whose methods are the job's."""
    return text if type(text) is str else str.__str__(text)
