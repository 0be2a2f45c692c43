"""The console of a running job: lines and progress bars.

Nothing here waits for the database. ``Console`` numbers the lines, keeps a run from writing without
end, and holds what was written until its sink (the server's completer, or the terminal) takes it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import attrgetter
from typing import Protocol

from .._store import ROW_LINES, ConsoleRow, NewLine, lines_row
from .._store.text import storable

COLORS: frozenset[str] = frozenset(
    {"black", "dark_blue", "dark_green", "dark_cyan", "dark_red", "dark_magenta", "dark_yellow"}
    | {"gray", "dark_gray", "blue", "green", "cyan", "red", "magenta", "yellow", "white"}
)
"""Colours of lines and bars, by the names of the sixteen that a terminal has."""

LONGEST_LEVEL = 30
"""Characters that are kept of a level's name."""

MUCH = 50
"""Lines after which they are to be taken soon, not only within a moment."""

ROW_SIZE = 65_536
"""Characters after which the next line gets a row of its own."""

CUT = "… the console is full: what the run wrote after this line was not kept"


class Sink(Protocol):
    """Where console rows go."""

    def wrote(self, console: Console, *, much: bool) -> None:
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
    """What one run writes. Safe between threads, and for finalizers.

    The garbage collector may call a finalizer at any time, and that may log: in the middle of a
    line another one is written by the same thread. It waits until the first is done.
    """

    __slots__ = (
        "_bars",
        "_bytes_left",
        "_claim",
        "_full",
        "_given",
        "_job_id",
        "_lines_left",
        "_lock",
        "_notified",
        "_rows",
        "_seq",
        "_sink",
        "_working",
    )

    def __init__(
        self, sink: Sink, job_id: int, claim: int, *, max_lines: int, max_bytes: int
    ) -> None:
        self._sink = sink
        self._job_id = job_id
        self._claim = claim
        self._lines_left = max_lines
        self._bytes_left = max_bytes
        self._full = False
        self._seq = 0
        self._given: deque[tuple[str, str | None, str | None]] = deque()
        """Lines that are not in a row yet."""
        self._rows: list[_Row] = []
        self._bars: dict[int, ConsoleRow] = {}
        """By number: of a bar that moves again and again only the last value is written."""
        self._notified = False
        """True if the sink knows that there is something to take."""
        self._lock = threading.RLock()
        self._working = False
        """True while the thread that has the lock is in the middle of something."""

    def write(self, text: str, color: str | None = None, level: str | None = None) -> None:
        """Write one line, or a mark that says that the console is full."""
        if color is not None:
            color = checked(color)
        if level is not None:
            # Anybody may give any name to a level.
            level = storable(_plain(level), LONGEST_LEVEL)
        with self._lock:
            self._given.append((_plain(text), color, level))
            if not self._working:
                self._work_off()

    def bar(self, name: str, color: str | None, value: float = 0.0) -> Callable[[float], None]:
        """Begin a progress bar at a value from 0 to 100; returns what sets its value."""
        color = checked(color)
        kept = storable(_plain(name), 200)
        now = time.monotonic()
        seq = None

        def put(value: float) -> None:
            if seq is None:
                return
            with self._at_work():
                self._bars[seq] = ConsoleRow(
                    self._job_id, self._claim, seq, now, kept, color, None, value
                )
                self._notify()

        with self._at_work():
            # A bar is a row like a line: they, too, are counted.
            if self._lines_left > 0:
                self._lines_left -= 1
                self._seq = seq = self._seq + 1
                # Numbers within a row have no gaps.
                self._rows.append(_Row(seq + 1))
                put(value)
            else:
                self._fill()
        return put

    def take(self) -> list[ConsoleRow]:
        """What was written since this was last called, in its order."""
        with self._at_work():
            rows, bars = self._rows, self._bars
            self._rows, self._bars, self._notified = [], {}, False
            entries = [
                lines_row(self._job_id, self._claim, row.seq, row.lines)
                for row in rows
                if row.lines
            ]
            return sorted([*entries, *bars.values()], key=_number) if bars else entries

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """With the lock, and what is written meanwhile put off."""
        with self._lock:
            before, self._working = self._working, True
            try:
                yield
            finally:
                self._working = before
                if self._given and not before:
                    self._work_off()

    def _work_off(self) -> None:
        """Put the lines that were given into rows."""
        self._working = True
        try:
            while self._given:
                first = self._seq
                while self._given:
                    self._line(*self._given.popleft())
                if self._seq > first:
                    self._notify(much=self._seq // MUCH > first // MUCH)
        finally:
            self._working = False

    def _notify(self, *, much: bool = False) -> None:
        # Under the lock: whoever comes next may rely on it that the sink was notified.
        if much or not self._notified:
            self._notified = True
            self._sink.wrote(self, much=much)

    def _line(self, text: str, color: str | None, level: str | None) -> None:
        left = self._bytes_left
        if self._lines_left <= 0:
            self._fill()
            return
        # Cut before it is cleaned: a line may be larger than all that is kept.
        kept = storable(text if len(text) <= left else text[: left + 1])
        size = len(kept) if kept.isascii() else len(kept.encode())
        if size > left:
            kept = kept.encode()[:left].decode("utf-8", "ignore")
        self._lines_left -= 1
        self._bytes_left = max(0, left - size)
        if kept or not text:
            self._add(kept, color, level)
        if size > left:
            self._fill()

    def _fill(self) -> None:
        """Say, once, that something is left out, and leave out all that comes."""
        if not self._full:
            self._full, self._lines_left = True, 0
            self._add(CUT, "yellow", None)
            self._notify()

    def _add(self, text: str, color: str | None, level: str | None) -> None:
        self._seq += 1
        row = self._rows[-1] if self._rows else None
        if row is None or len(row.lines) >= ROW_LINES or row.size > ROW_SIZE:
            row = _Row(self._seq)
            self._rows.append(row)
        row.lines.append(NewLine(time.monotonic(), text, color, level))
        row.size += len(text)


_number = attrgetter("seq")


def checked(color: str | None) -> str | None:
    """The colour, if it is one. Raises ``ValueError`` otherwise."""
    if color is not None and color not in COLORS:
        raise ValueError(f"{color!r} is no console colour; there are {', '.join(sorted(COLORS))}")
    return None if color is None else _plain(color)


def _plain(text: str) -> str:
    """The text itself, of a class derived from ``str`` too: JSON and databases take no other."""
    return text if type(text) is str else str.__str__(text)


current_console: ContextVar[Console | None] = ContextVar("flask_recurring_console", default=None)
"""The console of the run that the present code belongs to, if any."""
