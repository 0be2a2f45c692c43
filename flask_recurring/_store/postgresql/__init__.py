"""PostgreSQL behind the ``Driver`` protocol."""

from __future__ import annotations

from .arrays import literal
from .connection import connect_arguments, discard_stale, raw
from .driver import PostgreSQL
from .session import begin_pooled_session

__all__ = [
    "PostgreSQL",
    "begin_pooled_session",
    "connect_arguments",
    "discard_stale",
    "literal",
    "raw",
]
