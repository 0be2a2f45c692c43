"""The scheduler. A module of its own, so that jobs and pages can import it without a circle."""

from __future__ import annotations

from flask_recurring import Scheduler

scheduler = Scheduler()
