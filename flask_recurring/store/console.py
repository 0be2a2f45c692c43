"""What jobs wrote to their consoles: packed into rows, and read back.

Writing the rows is part of ``Driver.settle``. A row holds the lines that a run wrote within a
moment, up to ``ROW_LINES`` of them, numbered from the row's ``seq`` on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from .database import Database
from .driver import Entry
from .jobs import possible

ROW_LINES = 100
"""Lines of one row at most."""

LARGEST = 2**31 - 1
"""Of claims and sequence numbers; databases refuse to look for what they can't hold."""


class NewLine(NamedTuple):
    """A line that is to be written. ``moment`` is of the process's monotonic clock, in seconds."""

    moment: float
    text: str
    color: str | None
    level: str | None


def lines_entry(job_id: int, claim: int, seq: int, lines: Sequence[NewLine]) -> Entry:
    """The row of lines that were written one after the other, the first numbered ``seq``."""
    first = lines[0]
    more = None
    if len(lines) > 1:
        start = first.moment
        more = _encode(
            [
                (int((moment - start) * 1e6), text)
                if color is None and level is None
                else (int((moment - start) * 1e6), text, color, level)
                for moment, text, color, level in lines[1:]
            ]
        ).decode()
    return Entry(job_id, claim, seq, first.moment, first.text, first.color, first.level, None, more)


def entry_lines(entry: Entry) -> Iterator[NewLine]:
    """The lines of a row that is to be written."""
    yield NewLine(entry.moment, entry.text, entry.color, entry.level)
    for after, text, color, level in _unpacked(entry.more):
        yield NewLine(entry.moment + after / 1e6, text, color, level)


_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """One line. ``level`` is set for a line that came through ``logging``."""

    seq: int
    at: datetime
    text: str
    color: str | None
    level: str | None


@dataclass(frozen=True, slots=True)
class ConsoleBar:
    """A progress bar as it stands, from 0 to 100."""

    seq: int
    at: datetime
    name: str
    value: float
    color: str | None


class Consoles:
    """Consoles, one for each claim of a job."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._console = database.tables.console

    def lines(
        self, job_id: int, claim: int, after: int = 0, limit: int = 1000
    ) -> list[ConsoleLine]:
        """Lines in the order they were written, from the one after ``after``."""
        if not _possible(job_id, claim):
            return []
        console = self._console.c
        after = min(max(after, 0), LARGEST)
        statement = (
            sa.select(
                console.seq, console.at, console.text, console.color, console.level, console.more
            )
            .where(
                console.job_id == job_id,
                console.claim == claim,
                # The row that holds the next line may begin before it.
                console.seq > after - ROW_LINES,
                console.progress.is_(None),
            )
            .order_by(console.seq)
            .limit(limit + ROW_LINES)
        )
        with self._database.connect() as connection:
            rows = connection.execute(statement).all()
        lines = (line for row in rows for line in _lines(*row) if line.seq > after)
        return list(islice(lines, limit))

    def bars(self, job_id: int, claim: int) -> list[ConsoleBar]:
        """All progress bars of the console."""
        if not _possible(job_id, claim):
            return []
        console = self._console.c
        statement = (
            sa.select(console.seq, console.at, console.text, console.progress, console.color)
            .where(
                console.job_id == job_id,
                console.claim == claim,
                console.progress.is_not(None),
            )
            .order_by(console.seq)
        )
        with self._database.connect() as connection:
            return [ConsoleBar(*row) for row in connection.execute(statement)]

    def claims(self, job_id: int) -> list[int]:
        """Which claims of the job wrote anything, oldest first."""
        if not _possible(job_id, 1):
            return []
        console = self._console.c
        statement = sa.select(console.claim).where(console.job_id == job_id).distinct()
        with self._database.connect() as connection:
            return sorted(connection.execute(statement).scalars())


def _lines(
    seq: int, at: datetime, text: str, color: str | None, level: str | None, more: str | None
) -> Iterator[ConsoleLine]:
    """The lines of a row that was read."""
    yield ConsoleLine(seq, at, text, color, level)
    for after, text, color, level in _unpacked(more):
        seq += 1
        yield ConsoleLine(seq, at + timedelta(microseconds=after), text, color, level)


def _unpacked(more: str | None) -> Iterator[tuple[int, str, str | None, str | None]]:
    """Microseconds after the first line, text, color and level of each further line."""
    given: list[list[Any]] = [] if more is None else msgspec.json.decode(more)
    for after, text, *looks in given:
        color, level = looks or (None, None)
        yield after, text, color, level


def _possible(job_id: int, claim: int) -> bool:
    return possible(job_id) and 0 < claim <= LARGEST
