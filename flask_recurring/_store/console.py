"""What jobs wrote to their consoles: packed into rows, and read back.

Writing the rows is part of ``Driver.settle``. A row holds the lines that a run wrote within a
moment, up to ``ROW_LINES`` of them, numbered from the row's ``seq`` on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from .database import Database
from .records import ConsoleRow
from .types import is_id

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


def lines_row(job_id: int, claim: int, seq: int, lines: Sequence[NewLine]) -> ConsoleRow:
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
    return ConsoleRow(
        job_id, claim, seq, first.moment, first.text, first.color, first.level, None, more
    )


def row_lines(entry: ConsoleRow) -> Iterator[NewLine]:
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


class ConsolePart(NamedTuple):
    """A console as far as one answer holds it; ``whole`` says that it has no more lines."""

    lines: list[ConsoleLine]
    bars: list[ConsoleBar]
    whole: bool


class Consoles:
    """Consoles, one for each claim of a job."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._console = database.tables.console

    def read(self, job_id: int, claim: int, after: int = 0, limit: int = 1000) -> ConsolePart:
        """Up to ``limit`` lines, from the one after ``after``, and all progress bars.

        As they stood at one moment: who goes on after the last of them misses nothing.
        """
        if not _possible(job_id, claim):
            return ConsolePart([], [], whole=True)
        console = self._console
        after = min(max(after, 0), LARGEST)
        most = limit + ROW_LINES
        here = sa.select(console).where(console.c.job_id == job_id, console.c.claim == claim)
        lines = (
            # The row that holds the next line may begin before it.
            here.where(console.c.seq > after - ROW_LINES, console.c.progress.is_(None))
            .order_by(console.c.seq)
            .limit(most)
            .subquery()
        )
        both = sa.union_all(sa.select(lines), here.where(console.c.progress.is_not(None)))
        with self._database.connect() as connection:
            rows = sorted(connection.execute(both), key=lambda row: row.seq)
        full = [row for row in rows if row.progress is None]
        found = [line for line in _in_order(full) if line.seq > after]
        return ConsolePart(
            found[:limit],
            [
                ConsoleBar(row.seq, row.at, row.text, row.progress, row.color)
                for row in rows
                if row.progress is not None
            ],
            whole=len(full) < most and len(found) <= limit,
        )

    def lines(
        self, job_id: int, claim: int, after: int = 0, limit: int = 1000
    ) -> list[ConsoleLine]:
        """Lines in the order they were written, from the one after ``after``."""
        return self.read(job_id, claim, after, limit).lines

    def bars(self, job_id: int, claim: int) -> list[ConsoleBar]:
        """All progress bars of the console."""
        return self.read(job_id, claim, limit=0).bars

    def claims(self, job_id: int) -> list[int]:
        """Which claims of the job wrote anything, oldest first."""
        if not _possible(job_id, 1):
            return []
        console = self._console.c
        statement = sa.select(console.claim).where(console.job_id == job_id).distinct()
        with self._database.connect() as connection:
            return sorted(connection.execute(statement).scalars())


def _in_order(rows: Iterable[Any]) -> Iterator[ConsoleLine]:
    """The lines of rows that were read.

    Each transaction reckons times from its own "now", which may be a millisecond off: no line is
    told to be earlier than the one before it.
    """
    latest: datetime | None = None
    for row in rows:
        seq, start = row.seq, row.at
        for after, text, color, level in (
            (0, row.text, row.color, row.level),
            *_unpacked(row.more),
        ):
            at = start + timedelta(microseconds=after)
            latest = at if latest is None else max(at, latest)
            yield ConsoleLine(seq, latest, text, color, level)
            seq += 1


def _unpacked(more: str | None) -> Iterator[tuple[int, str, str | None, str | None]]:
    """Microseconds after the first line, text, color and level of each further line."""
    given: list[list[Any]] = [] if more is None else msgspec.json.decode(more)
    for after, text, *looks in given:
        color, level = looks or (None, None)
        yield after, text, color, level


def _possible(job_id: int, claim: int) -> bool:
    return is_id(job_id) and 0 < claim <= LARGEST
