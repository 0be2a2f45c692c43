"""What is said of an exception that ended a run: in the attempt's row, and in the log.

The exception is the job's, and so may be everything about it: its ``__str__``, the name of its
class. Whatever these do, there is something to say.
"""

from __future__ import annotations

import os
import traceback
from types import TracebackType
from typing import NamedTuple

LONGEST_TRACEBACK = 100_000
"""Characters that are kept of a traceback: the first and the last ones."""

PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
"""Where this package's own code is."""


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
    try:
        inner = _from_the_jobs_code(error.__traceback__)
        text = "".join(traceback.format_exception(type(error), error, inner))
    except BaseException as broken:
        return f"(the traceback can't be shown: {_kind(broken)})"
    if len(text) > LONGEST_TRACEBACK:
        half = LONGEST_TRACEBACK // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
    return text


def _from_the_jobs_code(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of this package that called the job's code.

    If there is no other code, only the first one is left out: it is the runner's.
    """
    inner = trace
    while inner is not None and inner.tb_frame.f_code.co_filename.startswith(PACKAGE):
        inner = inner.tb_next
    return inner or (trace and trace.tb_next)


def _plain(text: str) -> str:
    """The text itself, of a class derived from ``str`` too, whose methods are the job's."""
    return text if type(text) is str else str.__str__(text)
