"""PostgreSQL: what proves that a server lives: the backends of its connections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from .connection import raw

PRESENCE = "pid || ' ' || to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
"""Names a backend for all time, in the same words for sessions of every time zone."""


class Liveness:
    """Proves that this process lives, and looks after others. See ``Driver``."""

    def presence(
        self, connection: sa.Connection, server_id: int, beside: Iterable[str] = ()
    ) -> str | None:
        # All backends of the process: some may be ended while it lives. Behind a pooler a backend
        # is everybody's, and its life says nothing.
        own: str | None = connection.info.get("presence")
        return None if own is None else "\n".join(dict.fromkeys((own, *beside)))

    def gone(self, connection: sa.Connection, presence: Sequence[str]) -> set[str]:
        # A backend of another role shows its pid only; that counts as a sign of life too.
        rows = (
            raw(connection)
            .execute(
                "SELECT given FROM unnest(%s::text[]) AS given WHERE NOT EXISTS ("
                " SELECT 1 FROM pg_stat_activity, unnest(string_to_array(given, E'\n')) AS backend"
                " WHERE pid = split_part(backend, ' ', 1)::int"
                f" AND coalesce({PRESENCE}, backend) = backend)",
                (list(presence),),
            )
            .fetchall()
        )
        return {row[0] for row in rows}

    def end_liveness(self) -> None:
        return
