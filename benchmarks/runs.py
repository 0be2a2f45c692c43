"""A file to which running jobs append what they saw, without asking the database.

Processes share it: a line is written by one call that appends, which the operating system keeps
whole.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "BENCHMARK_RUNS"
"""Environment variable with the file's path, for the processes that append to it."""


class RunLog:
    """One line for each run: words without spaces."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600)

    @classmethod
    def given(cls) -> RunLog:
        """The file that this process was told to append to. Raises ``KeyError`` if it was not."""
        return cls(Path(os.environ[VARIABLE]))

    def note(self, *words: object) -> None:
        """Append a line."""
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())

    def count(self) -> int:
        """How many lines there are."""
        return self.path.read_bytes().count(b"\n")

    def lines(self) -> list[list[str]]:
        """All lines, as words."""
        return [line.split() for line in self.path.read_text().splitlines()]

    def clear(self) -> None:
        """Begin anew."""
        os.truncate(self.path, 0)
