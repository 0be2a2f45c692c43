"""What jobs wrote to their consoles, read back. Writing is part of ``Driver.settle``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from .database import Database
from .jobs import possible

LARGEST = 2**31 - 1
"""Of claims and sequence numbers; databases refuse to look for what they can't hold."""


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
        statement = (
            sa.select(console.seq, console.at, console.text, console.color, console.level)
            .where(
                console.job_id == job_id,
                console.claim == claim,
                console.seq > min(max(after, 0), LARGEST),
                console.progress.is_(None),
            )
            .order_by(console.seq)
            .limit(limit)
        )
        with self._database.connect() as connection:
            return [ConsoleLine(*row) for row in connection.execute(statement)]

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


def _possible(job_id: int, claim: int) -> bool:
    return possible(job_id) and 0 < claim <= LARGEST
