"""The application that the tests about processes serve, in every way there is.

Its settings come from the environment, as ``FLASK_RECURRING_…``. With ``TICKING`` set it has a job
that is due every second.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

import click
from flask import Flask

from flask_recurring import JobContext, Scheduler
from tests.apps.bound import bind

scheduler = Scheduler()


@scheduler.task("quick", retry=0)
def quick(number: int = 0) -> int:
    """Which process ran it."""
    return os.getpid()


@scheduler.task("patient")
def patient(seconds: float) -> str:
    """Takes its time, whatever it is told."""
    threading.Event().wait(seconds)
    return "done"


@scheduler.task("outside", retry=0)
async def outside(seconds: float) -> str:
    """Needs an executor's thread, after a while."""
    await asyncio.sleep(seconds)
    return await asyncio.to_thread(patient, 0)


@scheduler.task("fork", retry=0)
def fork() -> list[Any]:
    """What a forked child has of the server, and how it ends when it is told to."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=look_around, args=(sender,))
    child.start()
    seen: list[Any] = receiver.recv()
    child.terminate()
    child.join(0.5)
    code = child.exitcode
    child.kill()
    child.join()
    return [*seen, code]


@scheduler.task("end it", retry=0)
def end_it() -> None:
    """Sends the process a signal that interrupts no wait of its main thread."""
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)


@scheduler.task("parent")
def parent() -> None:
    """Leaves a child behind if it is killed."""
    if os.fork() == 0:
        threading.Event().wait(60)
        os._exit(0)
    threading.Event().wait(60)


def look_around(sender: Connection) -> None:
    """In the child: wait for longer than a look takes, and tell; then wait for the end."""
    threading.Event().wait(0.3)
    names = [thread.name for thread in threading.enumerate()]
    sender.send([scheduler.binding.server is None, names])
    threading.Event().wait(30)


def tick(context: JobContext) -> int:
    return os.getpid()


if os.environ.get("TICKING"):
    scheduler.recurring("tick", "* * * * * *", name="tick", retry=0)(tick)


def create_app() -> Flask:
    # The children of a reloader and of gunicorn load it too.
    bind()
    app = Flask(__name__)
    app.config.from_prefixed_env()
    scheduler.init_app(app)

    @app.get("/")
    def index() -> str:
        return f"served by {os.getpid()}"

    @app.cli.command()
    def peaceful() -> None:
        """Does something that is no serving."""
        probe()

    @app.cli.command()
    @click.argument("port", type=int)
    def serve(port: int) -> None:
        """Serves in a way of the application's own."""
        import waitress  # type: ignore[import-untyped]

        waitress.serve(app, host="127.0.0.1", port=port, threads=2)

    return app


def probe() -> None:
    """Enqueue a job, wait for longer than a look takes, and tell what there is of a server."""
    quick.enqueue()
    threading.Event().wait(0.5)
    names = sorted(thread.name for thread in threading.enumerate() if "recurring" in thread.name)
    print(f"server: {scheduler.binding.server}, threads: {names}")
