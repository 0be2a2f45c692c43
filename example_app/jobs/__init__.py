"""The shop's jobs, a module for each. Importing them registers them."""

from __future__ import annotations

from . import mail, maintenance, my_job, rates, report

__all__ = ["mail", "maintenance", "my_job", "rates", "report"]
