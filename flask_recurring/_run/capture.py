"""Takes what runs log by ``logging`` into their consoles.

It does so where a record is handed to the handlers, and is no handler itself: one more in the root
logger's list would make a later ``logging.basicConfig()`` do nothing, and ``dictConfig`` would take
it away. So the application may set its logging up before or after, and sees none of this.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable

from .console import Console, current_console

LEVEL_COLORS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class _Lowered(int):
    """A level that was set here: told from an equal one of the application's by what it is."""


LOWERED = _Lowered(logging.INFO)
"""The root logger's level while nobody has set one."""

_formatter = logging.Formatter()
_problems = logging.Handler()
"""Tells of a record that can't be written, as every handler does."""
_lock = threading.Lock()
_capturing = False


def capture_logging() -> None:
    """Let what jobs log appear in their consoles, from now on and in the whole process.

    Where the application has set up no logging at all, Python would drop everything below a
    warning before anybody sees it. Then, and only then, the root logger's level is lowered to
    INFO, for consoles alone: no handler gets more than it would have got.
    """
    global _capturing
    root = logging.getLogger()
    with _lock:
        if not root.handlers and root.level == logging.WARNING:
            root.setLevel(LOWERED)
        if not _capturing:
            _capturing = True
            # By assignment, as others do who wrap the same method: all of them are called.
            logging.Logger.callHandlers = _capturing_too(  # type: ignore[method-assign, assignment]
                logging.Logger.callHandlers
            )


def _capturing_too(
    call_handlers: Callable[[logging.Logger, logging.LogRecord], None],
) -> Callable[[logging.Logger, logging.LogRecord], None]:
    @functools.wraps(call_handlers)
    def call(self: logging.Logger, record: logging.LogRecord) -> None:
        try:
            if not _for_consoles_alone(self, record):
                call_handlers(self, record)
        finally:
            console = current_console.get()
            if console is not None and _reaches_root(self):
                _write(console, record)

    return call


def _for_consoles_alone(logger: logging.Logger, record: logging.LogRecord) -> bool:
    """True if the record is here only because the root logger's level was lowered."""
    if record.levelno >= logging.WARNING or logging.root.level is not LOWERED:
        return False
    while logger.parent is not None:
        if logger.level:
            return False
        logger = logger.parent
    return True


def _reaches_root(logger: logging.Logger) -> bool:
    """True if its records are handed up to the root logger's handlers."""
    while logger.parent is not None:
        if not logger.propagate:
            return False
        logger = logger.parent
    return True


def _write(console: Console, record: logging.LogRecord) -> None:
    try:
        console.write(
            _formatter.format(record),
            color=LEVEL_COLORS.get(record.levelname),
            level=record.levelname,
        )
    except Exception:
        _problems.handleError(record)
