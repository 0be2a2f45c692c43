"""PostgreSQL behind the ``Driver`` protocol."""

from __future__ import annotations

from .connection import connect_arguments, discard_stale, heed_pooler, raw
from .driver import PostgreSQL, literal

__all__ = ["PostgreSQL", "connect_arguments", "discard_stale", "heed_pooler", "literal", "raw"]
