"""Engines of this package's own, for databases that the application has no engine for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

AUTOCOMMIT = "AUTOCOMMIT"

COMMITS = "flask_recurring_commits"
"""Execution option of an engine whose connections commit each statement from the start. To turn
others to that, and back, at each checkout takes a tenth of the time of an insert."""


INHERITED: list[object] = []
"""What a forked child got from its parent and may neither use nor close: to close a connection is
to speak to the database on the parent's behalf, and what is collected as garbage is closed."""


def in_memory(url: sa.URL) -> bool:
    """True for a SQLite database that no other connection can see."""
    name = url.database or ""
    return url.get_backend_name() == "sqlite" and (
        not name or ":memory:" in name or "mode=memory" in name or url.query.get("mode") == "memory"
    )


def create_engine(
    url: str | sa.URL,
    *,
    factory: Callable[[], Any] | None = None,
    connect_timeout: float = 5.0,
) -> sa.Engine:
    """An engine of this package's own. Its connections commit each statement by itself.

    :param url: ``postgresql+psycopg://…`` or ``sqlite:///…``.
    :param factory: returns a new psycopg connection, instead of the address in ``url``.
    :param connect_timeout: seconds to wait for PostgreSQL to answer.
    """
    address = sa.make_url(url)
    commits: dict[str, Any] = {
        "isolation_level": AUTOCOMMIT,
        "execution_options": {COMMITS: True},
    }
    if address.get_backend_name() == "sqlite":
        return sa.create_engine(address, poolclass=NullPool if factory else None, **commits)
    from .postgresql import connect_arguments

    engine = sa.create_engine(
        address,
        pool_size=5,
        max_overflow=20,
        **commits,
        **(
            {"creator": factory}
            if factory is not None
            else {"connect_args": connect_arguments(connect_timeout)}
        ),
    )
    return _settled(engine)


def beside(engine: sa.Engine) -> sa.Engine:
    """One that connects as the application's does to PostgreSQL, with sessions set up as ours are.

    For an application whose own connections can't carry every text.
    """
    return _settled(sa.Engine(engine.pool.recreate(), engine.dialect, engine.url))


def _settled(engine: sa.Engine) -> sa.Engine:
    from .postgresql import begin_pooled_session, discard_stale

    # Before SQLAlchemy's own first statements, which want text and may get bytes.
    sa.event.listen(engine, "connect", begin_pooled_session, insert=True)
    sa.event.listen(engine, "checkout", discard_stale)
    return engine
