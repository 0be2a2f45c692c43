"""The application whose servers are put through it. Processes load it by this module's name.

Its settings come from the environment (``FLASK_RECURRING_DATABASE_URL`` and so on).
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import time
from typing import SupportsIndex

from flask import Flask

from flask_recurring import JobContext, Scheduler
from tests.chaos.records import recorder


def _wait(seconds: float | SupportsIndex) -> None:
    threading.Event().wait(float(seconds))


if "libfaketime" in os.environ.get("LD_PRELOAD", ""):
    # It answers each sleep with EINVAL where it is to leave the monotonic clock alone; to wait for
    # what never comes it doesn't interfere with.
    time.sleep = _wait

TICK_SECONDS = "CHAOS_TICK_SECONDS"
"""Names, in a server's environment, the seconds between the ticks of its recurring job, if any."""

TICKING = "ticking"


def make_scheduler() -> Scheduler:
    """The tasks, as servers and those who enqueue know them."""
    scheduler = Scheduler()

    @scheduler.task("work", retry=0)
    def work(context: JobContext, seconds: float = 0.0) -> None:
        """Take so long, and hear nothing meanwhile."""
        with recorder().run(context):
            if seconds:
                threading.Event().wait(seconds)

    @scheduler.task("listen", retry=0)
    def listen(context: JobContext, seconds: float) -> None:
        """Take so long, and stop when asked to."""
        with recorder().run(context):
            context.wait(seconds)

    @scheduler.task("crash", retry=0)
    def crash(context: JobContext) -> None:
        """Take the whole process along."""
        with recorder().run(context):
            os._exit(7)

    @scheduler.task("hold", retry=0)
    def hold(context: JobContext, seconds: float) -> None:
        """Compute in C for so long, without letting any other thread run."""
        with recorder().run(context):
            library = ctypes.PyDLL(None)
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                # Some systems refuse a second or more.
                library.usleep(int(min(left, 0.9) * 1e6))

    @scheduler.task("tick", retry=0)
    def tick(context: JobContext) -> None:
        with recorder().run(context):
            return

    if seconds := os.environ.get(TICK_SECONDS):
        # So that none may be missing, also of those that no server was there for.
        scheduler.recurring(TICKING, f"*/{seconds} * * * * *", misfire="all")(tick)
    return scheduler


def create_app() -> Flask:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app = Flask(__name__)
    app.config.from_prefixed_env()
    make_scheduler().init_app(app)
    return app
