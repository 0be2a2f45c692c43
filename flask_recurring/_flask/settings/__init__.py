"""All settings of the extension: ``settings`` has them, ``setting`` reads each kind of value."""

from __future__ import annotations

from .settings import Settings, default_workers

__all__ = ["Settings", "default_workers"]
