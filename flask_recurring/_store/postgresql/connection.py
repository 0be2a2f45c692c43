"""Connections to PostgreSQL: how they are opened, kept alive and found to be closed."""

from __future__ import annotations

import os
import select
import socket
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DisconnectionError

KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}

UNHEARD = 20
"""Seconds that what was sent may stay unconfirmed by the peer's machine. Keepalive doesn't look
while something is under way, and the system alone would try for a quarter of an hour."""


def connect_arguments(connect_timeout: float) -> dict[str, Any]:
    """What libpq is told when this package opens connections of its own."""
    return {
        # libpq counts whole seconds and takes 1 for 2.
        "connect_timeout": max(2, round(connect_timeout)),
        "keepalives_idle": KEEPALIVE["TCP_KEEPIDLE"],
        "keepalives_interval": KEEPALIVE["TCP_KEEPINTVL"],
        "keepalives_count": KEEPALIVE["TCP_KEEPCNT"],
        "tcp_user_timeout": UNHEARD * 1000,
        "application_name": "flask_recurring",
    }


def discard_stale(dbapi: Any, record: Any, proxy: Any) -> None:
    """Pool event: a connection whose other end is closed is replaced before it is used.

    An idle connection has nothing to say, so one that can be read has been closed or is about to
    be. Looking costs microseconds, where asking the server costs a round trip.
    """
    if _readable(dbapi.fileno()):
        raise DisconnectionError("the idle connection was closed by the server")


def _readable(number: int) -> bool:
    """True if there is something to read from this file, at once."""
    # Not select() where it can be helped: that knows no file number above 1023.
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([number], [], [], 0)[0])


def is_pooled(driver: psycopg.Connection[Any]) -> bool:
    """True if the backend that answers is not the one that was announced."""
    backend = driver.execute("SELECT pg_backend_pid()").fetchone()
    return backend is None or backend[0] != driver.info.backend_pid


def raw(connection: sa.Connection) -> psycopg.Connection[Any]:
    """The psycopg connection inside."""
    driver: psycopg.Connection[Any] = connection.connection.dbapi_connection  # type: ignore[assignment]
    return driver


def keep_alive(driver: psycopg.Connection[Any]) -> None:
    """Notice a peer that vanished, also on connections that somebody else's settings opened."""
    with socket.socket(fileno=os.dup(driver.fileno())) as peer:
        if peer.family not in (socket.AF_INET, socket.AF_INET6):
            return
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (*KEEPALIVE.items(), ("TCP_USER_TIMEOUT", UNHEARD * 1000)):
            if hasattr(socket, name):
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
