"""The dashboard: what the store holds, on pages; and what one may do about it, in forms."""

from __future__ import annotations

from .blueprint import create_blueprint

__all__ = ["create_blueprint"]
