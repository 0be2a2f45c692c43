"""The Flask application whose jobs are measured. Server processes load it by this module's name.

Its settings come from the environment (``FLASK_RECURRING_DATABASE_URL`` and so on), or from what
``create_app`` is given.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from flask import Flask

from flask_recurring import JobContext, Scheduler

from .runs import RunLog

scheduler = Scheduler()


@scheduler.task(name="nothing")
def nothing(number: int) -> None:
    """Do nothing: what is measured is everything around it."""


@scheduler.task(name="write")
def write(context: JobContext, lines: int) -> None:
    """Write lines to the console, and nothing else."""
    for number in range(lines):
        context.write_line("line", number, "of", lines)


@scheduler.task(name="note")
def note(sent: int) -> None:
    """Note how many nanoseconds have passed since ``sent``, of the clock that processes share."""
    now = time.monotonic_ns()
    runs().note(now - sent)


@scheduler.task(name="tick")
def tick(context: JobContext) -> None:
    """Note which tick this is and when it came to run."""
    now = time.time()
    assert context.due is not None
    runs().note(context.recurring_id, context.due.timestamp(), now)


@cache
def runs() -> RunLog:
    """Where this process notes its runs."""
    return RunLog.given()


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The application, with ``config`` over what the environment says."""
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config or {})
    scheduler.init_app(app)
    return app
