"""Keyset pages: a page begins where the last one ended, however many rows lie before it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from ..job import Job
from .types import from_microseconds, to_microseconds

_TEXT = re.compile(r"(-?[0-9]{1,19})?\.([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list: the time it is sorted by (None: by id alone), and the row's id."""

    at: datetime | None
    id: int

    def __str__(self) -> str:
        return f"{'' if self.at is None else to_microseconds(self.at)}.{self.id}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read what ``str(cursor)`` wrote. Raises ``ValueError`` for anything else."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:50]!r} is not a place in a list")
        at, id = match.groups()
        if int(id) >= 2**63:
            raise ValueError(f"{text!r} is not a place in a list: the id is too large")
        try:
            return cls(from_microseconds(int(at)) if at else None, int(id))
        except OverflowError:
            raise ValueError(f"{text!r} is not a place in a list: no such time") from None


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, and where the pages before and after them begin."""

    items: list[Job]
    older: Cursor | None
    """Further down the list: pass it as ``before``."""
    newer: Cursor | None
    """Back up the list: pass it as ``after``."""
    cut: bool = False
    """True if there may be more that fits and was not looked at. The cursor leads there."""
