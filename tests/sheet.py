"""What a console under test writes to."""

from __future__ import annotations

from flask_recurring._run.console import Console
from flask_recurring._store import ConsoleRow, row_lines


class Sheet:
    """A sink that keeps what is written: an entry for each line, and for each value of a bar."""

    def __init__(self) -> None:
        self.entries: list[ConsoleRow] = []

    def wrote(self, console: Console, *, much: bool) -> None:
        for entry in console.take():
            if entry.progress is not None:
                self.entries.append(entry)
                continue
            self.entries += [
                entry._replace(seq=seq, more=None, **line._asdict())
                for seq, line in enumerate(row_lines(entry), start=entry.seq)
            ]

    @property
    def texts(self) -> list[str]:
        return [entry.text for entry in self.entries]

    @property
    def lines(self) -> list[str]:
        return [entry.text for entry in self.entries if entry.progress is None]

    @property
    def values(self) -> list[float]:
        return [entry.progress for entry in self.entries if entry.progress is not None]
