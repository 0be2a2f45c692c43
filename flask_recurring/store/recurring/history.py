"""What became of a recurring job's ticks."""

from __future__ import annotations

import sqlalchemy as sa

from ...recurring import Tick
from ..text import is_storable
from .table import RecurringTable


class History(RecurringTable):
    """Reads a recurring job's past."""

    def ticks(self, id: str, limit: int = 20) -> list[Tick]:
        """The last entries of a recurring job's history, newest first."""
        if not is_storable(id):
            return []
        tick = self._tick.c
        names = list(Tick.__dataclass_fields__)
        statement = (
            sa.select(*(tick[name] for name in names))
            .where(tick.recurring_id == id)
            .order_by(tick.id.desc())
            .limit(limit)
        )
        with self._database.connect() as connection:
            return [Tick(**dict(row)) for row in connection.execute(statement).mappings()]
