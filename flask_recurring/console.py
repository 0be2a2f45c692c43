"""The console of a running job: lines, progress bars, and what it logs.

Nothing here waits for the database. ``Console`` numbers the lines, keeps a run from writing without
end, and holds what was written until its sink (the server's completer, or the terminal) takes it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from typing import Protocol, TypeVar

from .store import ROW_LINES, Entry, NewLine, entry_lines, lines_entry
from .store.text import storable

T = TypeVar("T")

COLORS: frozenset[str] = frozenset(
    {"black", "dark_blue", "dark_green", "dark_cyan", "dark_red", "dark_magenta", "dark_yellow"}
    | {"gray", "dark_gray", "blue", "green", "cyan", "red", "magenta", "yellow", "white"}
)
"""Colours of lines and bars, by the names of the sixteen that a terminal has."""

MUCH = 50
"""Lines after which they are to be taken soon, not only within a moment."""

ROW_SIZE = 65_536
"""Characters after which the next line gets a row of its own."""

BAR_STEP = 0.1
"""A bar that moved by less (in percent) is not written again."""

CUT = "… the console is full: what the run wrote after this line was not kept"


class Sink(Protocol):
    """Where console rows go."""

    def ready(self, console: Console, *, much: bool) -> None:
        """Take what was written by ``console.take()``, within a moment; soon if it is much.

        Called by the run, so it must return at once.
        """


class _Row:
    """Lines that are to become one row, numbered from ``seq`` on."""

    __slots__ = ("lines", "seq", "size")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.lines: list[NewLine] = []
        self.size = 0


class Console:
    """What one run writes. Safe between threads."""

    __slots__ = (
        "_bars",
        "_bytes_left",
        "_claim",
        "_job_id",
        "_lines_left",
        "_lock",
        "_rows",
        "_seq",
        "_sink",
        "_told",
    )

    def __init__(
        self, sink: Sink, job_id: int, claim: int, *, max_lines: int, max_bytes: int
    ) -> None:
        self._sink = sink
        self._job_id = job_id
        self._claim = claim
        self._lines_left = max_lines
        self._bytes_left = max_bytes
        self._seq = 0
        self._rows: list[_Row] = []
        self._bars: dict[int, Entry] = {}
        """By number: of a bar that moves again and again only the last value is written."""
        self._told = False
        """Whether the sink knows that there is something to take."""
        self._lock = threading.Lock()

    def write(self, text: str, color: str | None = None, level: str | None = None) -> None:
        """Write one line, or a mark that says that the console is full."""
        if color is not None:
            checked(color)
        with self._lock:
            left = self._bytes_left
            if self._lines_left <= 0:
                return
            # Cut before it is cleaned: a line may be larger than all that is kept.
            kept = storable(text if len(text) <= left else text[: left + 1])
            size = len(kept) if kept.isascii() else len(kept.encode())
            if size > left:
                kept = kept.encode()[:left].decode("utf-8", "ignore")
                self._lines_left = 0
            else:
                self._lines_left -= 1
                self._bytes_left = left - size
            if kept or not text:
                self._add(kept, color, level)
            if self._lines_left <= 0:
                self._add(CUT, "yellow", None)
            told, self._told = self._told, True
            much = self._seq % MUCH == 0
        if much or not told:
            self._sink.ready(self, much=much)

    def bar(self, name: str, color: str | None) -> Callable[[float], None]:
        """Begin a progress bar; returns what sets its value, from 0 to 100."""
        checked(color)
        with self._lock:
            # A bar is a row like a line: they, too, are counted.
            seq = None
            if self._lines_left > 0:
                self._seq = seq = self._seq + 1
                # Numbers within a row have no gaps.
                self._rows.append(_Row(seq + 1))
            self._lines_left -= 1
        kept = storable(name, 200)

        def put(value: float) -> None:
            if seq is None:
                return
            with self._lock:
                self._bars[seq] = Entry(
                    self._job_id, self._claim, seq, time.monotonic(), kept, color, None, value
                )
                told, self._told = self._told, True
            if not told:
                self._sink.ready(self, much=False)

        return put

    def take(self) -> list[Entry]:
        """What was written since this was last called."""
        with self._lock:
            rows, bars = self._rows, self._bars
            self._rows, self._bars, self._told = [], {}, False
        return [
            *(
                lines_entry(self._job_id, self._claim, row.seq, row.lines)
                for row in rows
                if row.lines
            ),
            *bars.values(),
        ]

    def _add(self, text: str, color: str | None, level: str | None) -> None:
        self._seq += 1
        row = self._rows[-1] if self._rows else None
        if row is None or len(row.lines) >= ROW_LINES or row.size > ROW_SIZE:
            row = _Row(self._seq)
            self._rows.append(row)
        row.lines.append(NewLine(time.monotonic(), text, color, level))
        row.size += len(text)


class ProgressBar:
    """A bar in the job's console. ``set`` it from 0 to 100."""

    def __init__(self, put: Callable[[float], None], value: float = 0.0) -> None:
        self._put = put
        self._value = -1.0
        self.set(value)

    @property
    def value(self) -> float:
        """Where the bar stands, from 0 to 100."""
        return self._value

    def set(self, value: float) -> None:
        """Move the bar. Raises ``ValueError`` unless ``value`` lies between 0 and 100."""
        if not 0 <= value <= 100:
            raise ValueError(f"a progress bar goes from 0 to 100, not to {value!r}")
        if abs(value - self._value) >= BAR_STEP or (value in (0, 100) and value != self._value):
            self._value = float(value)
            self._put(self._value)


def track(items: Iterable[T], bar: ProgressBar, total: int | None = None) -> Iterator[T]:
    """Yield the items and move the bar along.

    Without a length, known or given as ``total``, the bar moves only at the end. Should there be
    more items than that, the bar waits at its place for the end.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    for done, item in enumerate(items):
        if total:
            bar.set(min(100.0, 100.0 * done / total))
        yield item
    bar.set(100)


def checked(color: str | None) -> str | None:
    """The colour, if it is one. Raises ``ValueError`` otherwise."""
    if color is not None and color not in COLORS:
        raise ValueError(f"{color!r} is no console colour; there are {', '.join(sorted(COLORS))}")
    return color


class Terminal:
    """The sink of a context that belongs to no server: it prints."""

    def ready(self, console: Console, *, much: bool) -> None:
        for entry in console.take():
            if entry.progress is None:
                for line in entry_lines(entry):
                    print(line.text)
            else:
                print(f"{entry.text or 'progress'}: {entry.progress:.1f} %")


current_console: ContextVar[Console | None] = ContextVar("flask_recurring_console", default=None)
"""The console of the run that the present code belongs to, if any."""

LEVEL_COLORS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class ConsoleHandler(logging.Handler):
    """Takes what a run logs into its console.

    Outside of runs it stands back. Flask and Werkzeug give their loggers a handler unless they find
    one that takes every level, so this one must not look like it to them.
    """

    @property
    def level(self) -> int:
        """Everything inside a run; outside of one, only what Python itself would not drop."""
        return logging.WARNING if current_console.get() is None else logging.NOTSET

    @level.setter
    def level(self, value: int) -> None:
        return  # what logging sets when it makes the handler

    def emit(self, record: logging.LogRecord) -> None:
        # Being a handler of the root logger, this one switches off Python's own last resort.
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and self._alone(record):
            last.handle(record)
        console = current_console.get()
        if console is None:
            return
        try:
            console.write(
                self.format(record),
                color=LEVEL_COLORS.get(record.levelname),
                level=record.levelname,
            )
        except Exception:
            self.handleError(record)

    def _alone(self, record: logging.LogRecord) -> bool:
        """Whether no other handler gets the record."""
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return True


def capture_logging() -> None:
    """Let what jobs log appear in their consoles, from now on and in the whole process.

    Where the application has set up no logging at all, Python would drop everything below a
    warning before any handler sees it; then, and only then, the root logger's level becomes INFO.
    """
    root = logging.getLogger()
    if any(isinstance(handler, ConsoleHandler) for handler in root.handlers):
        return
    if not root.handlers and root.level == logging.WARNING:
        root.setLevel(logging.INFO)
    root.addHandler(ConsoleHandler())
