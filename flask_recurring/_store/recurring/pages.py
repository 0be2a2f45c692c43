"""Pages of recurring jobs, in one of three orders.

An order is one or two stretches, each read along its own key: those that have what the order goes
by (a next tick, a last run), and after them those that don't, by their ids. A page begins where the
last one ended, however many rows lie before it and whatever has ticked meanwhile.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import sqlalchemy as sa

from ..._recurring.recurring_job import RecurringJob
from ..capped_count import CappedCount
from ..text import is_storable, storable
from ..types import from_microseconds, to_microseconds
from .reading import Reading, read

LONGEST_SEARCH = 200
"""Characters of a search that count."""

MOST_WORDS = 5

# No more digits than times and ids have.
_TEXT = re.compile(r"([0-9]{1,17})?\.(.{1,1000})", re.DOTALL)


class Order(enum.StrEnum):
    """What a list of recurring jobs is sorted by."""

    ID = "id"
    NEXT = "next"
    """The next tick, soonest first."""
    LAST = "last"
    """The last run, newest first."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A place in a list: the value that it is sorted by, None for none, and the id."""

    value: int | None
    """Microseconds since 1970 of the next tick, or the number of the last run."""
    id: str

    def __str__(self) -> str:
        return f"{'' if self.value is None else self.value}.{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str(bookmark)`` wrote. Raises ``ValueError`` for anything else."""
        match = _TEXT.fullmatch(text)
        if match is None or not is_storable(text):
            raise ValueError(f"{text[:50]!r} is not a place in a list")
        value, id = match.groups()
        return cls(None if value is None else int(value), id)

    @classmethod
    def of(cls, job: RecurringJob, order: Order) -> Self:
        """The place of a recurring job."""
        match order:
            case Order.NEXT if job.next_at is not None:
                return cls(to_microseconds(job.next_at), job.id)
            case Order.LAST:
                return cls(job.last_job_id, job.id)
        return cls(None, job.id)


@dataclass(frozen=True, slots=True)
class RecurringPage:
    """Some recurring jobs, and where the pages before and after them begin."""

    items: list[RecurringJob]
    previous: Bookmark | None
    """Pass it as ``before`` for the page before this one."""
    next: Bookmark | None
    """Pass it as ``after`` for the page after this one."""
    total: CappedCount
    """How many there are in all pages, counted up to a cap."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of an order: its rows, and the key that they are read along."""

    where: sa.ColumnElement[bool]
    by: sa.Column[Any] | None
    descending: bool = False


class Pages(Reading):
    """Reads pages of recurring jobs."""

    def page(
        self,
        search: str = "",
        *,
        order: Order = Order.ID,
        after: Bookmark | None = None,
        before: Bookmark | None = None,
        limit: int = 50,
    ) -> RecurringPage:
        """Some recurring jobs.

        :param search: words that must all stand in the id or the task's name, large or small
            (beyond ASCII, SQLite tells large letters from small ones).
        :param order: what they are sorted by.
        :param after: begin after this place; or end before that one, with ``before``.
        """
        back = before is not None and after is None
        found: list[RecurringJob] = []
        with self._database.connect() as connection:
            for statement in self._statements(order, after or before, back):
                rest = limit + 1 - len(found)
                if rest:
                    some = statement.where(*self._matching(search)).limit(rest)
                    found += [read(row) for row in connection.execute(some)]
            total = self._count(connection, *self._matching(search))
        more = len(found) > limit
        items = found[:limit]
        if back:
            items.reverse()
        first, last = (Bookmark.of(items[at], order) for at in (0, -1)) if items else (None, None)
        return RecurringPage(
            items,
            previous=first if (more if back else after is not None) else None,
            next=last if (back or more) else None,
            total=total,
        )

    def _statements(self, order: Order, place: Bookmark | None, back: bool) -> list[sa.Select[Any]]:
        """The stretches from a place on, in the direction of reading."""
        stretches = self._stretches(order)
        if back:
            stretches.reverse()
        if place is not None and order is not Order.ID:
            begin = [stretch.by is None for stretch in stretches].index(place.value is None)
            stretches = stretches[begin:]
        statements: list[sa.Select[Any]] = []
        for stretch in stretches:
            key = [self._row.c.id] if stretch.by is None else [stretch.by, self._row.c.id]
            descending = stretch.descending != back
            statement = self._select().where(stretch.where)
            if place is not None:
                statement = statement.where(_beyond(key, place, order, descending))
                place = None  # what comes after its stretch comes whole
            sorting = [column.desc() if descending else column.asc() for column in key]
            statements.append(statement.order_by(*sorting))
        return statements

    def _stretches(self, order: Order) -> list[_Stretch]:
        if order is Order.ID:
            return [_Stretch(sa.true(), None)]
        by = self._row.c.next_at if order is Order.NEXT else self._row.c.last_job_id
        return [
            _Stretch(by.is_not(None), by, descending=order is Order.LAST),
            _Stretch(by.is_(None), None),
        ]

    def _matching(self, search: str) -> list[sa.ColumnElement[bool]]:
        text = sa.func.lower(self._row.c.id + " " + self._row.c.task)
        words = storable(search, LONGEST_SEARCH).lower().split()[:MOST_WORDS]
        return [text.contains(word, autoescape=True) for word in words]


def _beyond(
    key: Sequence[sa.Column[Any]], place: Bookmark, order: Order, descending: bool
) -> sa.ColumnElement[bool]:
    values: list[Any] = [place.id]
    if len(key) > 1 and place.value is not None:
        values.insert(0, from_microseconds(place.value) if order is Order.NEXT else place.value)
    here = sa.tuple_(*key)
    there = sa.tuple_(*(sa.literal(v, c.type) for v, c in zip(values, key, strict=True)))
    return here < there if descending else here > there
