"""The package's own log lines, for code that must go on whatever becomes of them.

A handler, a filter or a factory of records is the application's code, and may raise: a filter that
reads the request's id does so outside of requests. A loop that was ended by a line of its own would
be a server that claims jobs and doesn't run them. So nothing comes out of these calls; a line that
can't be logged is written to standard error, with the reason.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from traceback import format_exception
from typing import Any, TypedDict, Unpack

from .printable import on_one_line, printable

NAME = "flask_recurring"


class Details(TypedDict, total=False):
    """What a line may have besides its text."""

    exc_info: BaseException | None
    """An error, whose traceback follows the line."""
    traceback: str | None
    """The text of that, if it is there already."""
    extra: Mapping[str, object] | None
    """More fields of the record."""


class Log:
    """A logger that never raises, and whose lines are one line each."""

    def __init__(self, name: str = NAME) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Say what only helps who looks for a fault."""
        self._say(logging.DEBUG, message, args, exc_info)

    def info(self, message: str, *args: object) -> None:
        """Say what happens in order."""
        self._say(logging.INFO, message, args)

    def notify(self, message: str, *args: object) -> None:
        """Say something that is to be seen where no logging is set up, too.

        As Werkzeug does it with its own lines: on standard error, unless somebody listens.
        """
        if self._logger.hasHandlers():
            self._say(logging.INFO, message, args)
        else:
            with suppress(OSError, ValueError):  # closed, or none
                print(message % tuple(map(_plain, args)), file=sys.stderr, flush=True)

    def warning(self, message: str, *args: object, **details: Unpack[Details]) -> None:
        """Say what somebody may want to look at."""
        self._say(logging.WARNING, message, args, **details)

    def error(self, message: str, *args: object, **details: Unpack[Details]) -> None:
        """Say what somebody has to look at."""
        self._say(logging.ERROR, message, args, **details)

    def log(self, level: int, message: str, *args: object, **details: Unpack[Details]) -> None:
        """Say something at a level that is known only now."""
        self._say(level, message, args, **details)

    def _say(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        exc_info: BaseException | None = None,
        traceback: str | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        try:
            if self._logger.isEnabledFor(level):
                plain = tuple(map(_plain, args))
                record = self._record(level, message, plain, exc_info, extra)
                if exc_info is not None:
                    # What formatters would make of it themselves; if it is there, they take it.
                    record.exc_text = printable(traceback or _trace(exc_info)).rstrip("\n")
                self._logger.handle(record)
        except BaseException as broken:
            _write_instead(message, args, broken)
            # Ctrl-C reaches the main thread wherever it is; no loop of a server runs there.
            if not isinstance(broken, Exception) and _in_main_thread():
                raise

    def _record(
        self,
        level: int,
        message: str,
        args: tuple[Any, ...],
        error: BaseException | None,
        extra: Mapping[str, object] | None,
    ) -> logging.LogRecord:
        # The third from here is who has something to say.
        file, line, function, _ = self._logger.findCaller(stacklevel=4)
        given = (
            *(self._logger.name, level, file, line, message, args),
            *(None if error is None else (type(error), error, error.__traceback__), function),
        )
        try:
            return self._logger.makeRecord(*given, extra)
        except KeyError:
            # The application's own factory has made a field of that name.
            return self._logger.makeRecord(*given)


def _trace(error: BaseException) -> str:
    return "".join(format_exception(error))


def _plain(value: object) -> object:
    return value if type(value) in (int, float) else _text(value)


def _text(value: object) -> str:
    return on_one_line(str.__str__(str(value)))


def _write_instead(message: str, args: tuple[object, ...], broken: BaseException) -> None:
    try:
        line = message % tuple(arg if isinstance(arg, (int, float)) else _text(arg) for arg in args)
        sys.stderr.write(f"{line} (to log this raised {type(broken).__name__}: {_text(broken)})\n")
    except BaseException:
        # Nobody is left to tell, or it can't be told.
        return


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


logger = Log()
