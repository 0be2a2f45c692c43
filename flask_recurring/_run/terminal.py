"""The console of a task that is called as the plain function."""

from __future__ import annotations

from .._log.printable import on_one_line, printable
from .._store import row_lines
from .console import Console


class Terminal:
    """The sink of a context that belongs to no server: it prints, without what would command a
    terminal."""

    def wrote(self, console: Console, *, much: bool) -> None:
        for entry in console.take():
            if entry.progress is None:
                for line in row_lines(entry):
                    print(printable(line.text))
            else:
                print(f"{on_one_line(entry.text) or 'progress'}: {entry.progress:.1f} %")
