"""SQLite behind the ``Driver`` protocol."""

from __future__ import annotations

from .driver import SQLite

__all__ = ["SQLite"]
