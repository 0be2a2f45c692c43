"""``flask recurring …``: the worker without a web server, and everything an operator needs."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import wraps
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import click
from flask.cli import AppGroup
from sqlalchemy.exc import SQLAlchemyError

from .._log.printable import on_one_line
from .._recurring.recurring_job import RecurringJob
from .._store import ErrorKind, describe
from ..errors import RecurringError
from ..job import FINISHED, JobState
from .binding import current_binding
from .commands import Commands

P = ParamSpec("P")
R = TypeVar("R")

commands = AppGroup("recurring", help="Run and manage recurring and background jobs.")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for other programs.")


def told_plainly(command: Callable[P, R]) -> Callable[P, R]:
    """Show what is wrong as one line; with a traceback only a fault of the program itself."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except RecurringError as error:
            raise click.ClickException(on_one_line(describe(error))) from error
        except SQLAlchemyError as error:
            if ErrorKind.of(error) is ErrorKind.FAULT:
                raise
            raise click.ClickException(on_one_line(describe(error))) from error

    return wrapped


@commands.command()
@told_plainly
def worker() -> None:
    """Take and run jobs, without a web server, until SIGTERM or SIGINT."""
    binding = current_binding()
    server = binding.start_server()
    # The one thing that a signal's handler may do at any moment, whatever it interrupts.
    signals: SimpleQueue[int] = SimpleQueue()

    def ask(number: int, frame: FrameType | None) -> None:
        signals.put(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    click.echo(f"Server {server.name} is starting. Stop it with Ctrl-C.")
    while not _asked(signals, 0.5):
        # A signal's handler runs between two waits if the signal came just before a wait, or to
        # another thread, and so did not interrupt it.
        pass
    click.echo("Stopping: runs may come to their end. Once more to give them back at once.")
    stopping = threading.Thread(target=binding.stop_server, name="recurring-stop", daemon=True)
    stopping.start()
    while stopping.is_alive():
        if _asked(signals, 0.05):
            server.hurry()


def _asked(signals: SimpleQueue[int], timeout: float) -> bool:
    """Wait for a signal. True if one came within so many seconds."""
    try:
        signals.get(timeout=timeout)
    except Empty:
        return False
    return True


@commands.command("init-db")
@told_plainly
def init_db() -> None:
    """Create or migrate the tables, and write the recurring jobs that the code declares.

    Tables that were dropped are made anew, those that are there stay as they are.
    """
    binding = current_binding()
    binding.store.database.complete()
    binding.define()
    click.echo(f"Ready: {binding.store.description}")


@commands.command("list")
@as_json
@told_plainly
def list_recurring(as_json: bool) -> None:
    """List the recurring jobs."""
    rows = current_binding().recurring().all()
    if as_json:
        _print_json(rows)
        return
    _print_table(
        ("ID", "CRON", "ZONE", "NEXT", "LAST", "TASK"),
        (
            (
                row.id,
                row.cron,
                row.timezone,
                _standing(row),
                row.last_job_state or "",
                row.task,
            )
            for row in rows
        ),
    )


@commands.command()
@click.argument("id")
@told_plainly
def trigger(id: str) -> None:
    """Run the recurring job ID now."""
    job = _commands().trigger(id)
    click.echo(f"Enqueued job {job.id}.")


@commands.command()
@click.argument("id")
@told_plainly
def pause(id: str) -> None:
    """Let the recurring job ID have no ticks."""
    _commands().pause(id)
    click.echo(f"Paused {id}.")


@commands.command()
@click.argument("id")
@told_plainly
def resume(id: str) -> None:
    """Let the recurring job ID tick again, from where it was paused on."""
    _commands().resume(id)
    click.echo(f"Resumed {id}.")


@commands.command()
@click.option(
    "--state",
    type=click.Choice([state.value for state in JobState], case_sensitive=False),
    help="Only jobs in this state.",
)
@click.option("--queue", help="Only jobs of this queue.")
@click.option("--task", help="Only jobs of this task.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@as_json
@told_plainly
def jobs(state: str | None, queue: str | None, task: str | None, limit: int, as_json: bool) -> None:
    """List jobs: next to run or longest running first, all others newest first."""
    page = (
        current_binding()
        .ready_store()
        .jobs.page(None if state is None else JobState(state), queue=queue, task=task, limit=limit)
    )
    if as_json:
        # Nothing here has made it.
        _print_json(page.items, without="new")
        return
    _print_table(
        ("ID", "STATE", "TASK", "QUEUE", "CREATED", "ATTEMPT", "ERROR"),
        (
            (
                str(job.id),
                job.state.value,
                job.task,
                job.queue,
                _time(job.created_at),
                str(job.attempt),
                job.error or "",
            )
            for job in page.items
        ),
    )


@commands.command()
@click.argument("id", type=int)
@told_plainly
def requeue(id: int) -> None:
    """Let the finished or scheduled job ID run now."""
    if not _commands().requeue([id]):
        raise click.ClickException(f"job {id} does not exist, or is waiting or running already")
    click.echo(f"Requeued job {id}.")


@commands.command()
@click.argument("id", type=int)
@told_plainly
def delete(id: int) -> None:
    """Mark the job ID Deleted; if it runs, ask it to stop."""
    if not _commands().delete([id]):
        raise click.ClickException(f"job {id} does not exist, or is deleted already")
    click.echo(f"Deleted job {id}.")


@commands.command()
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="Hours since the job finished.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in JobState if state.finished], case_sensitive=False),
    help="Only jobs in this state; may be given several times.",
)
@told_plainly
def purge(older_than: float, states: Sequence[str]) -> None:
    """Delete finished jobs, with their attempts and consoles."""
    age = timedelta(hours=older_than)
    chosen = [JobState(state) for state in states] or FINISHED
    count = _commands().purge(age, chosen)
    click.echo(f"Deleted {count} jobs.")


@commands.command()
@as_json
@told_plainly
def servers(as_json: bool) -> None:
    """List the live servers."""
    rows = current_binding().ready_store().servers.live()
    if as_json:
        _print_json(rows)
        return
    _print_table(
        ("ID", "NAME", "APPLICATION", "BUSY", "QUEUES", "STARTED", "LAST BEAT"),
        (
            (
                str(row.id),
                row.name,
                row.application,
                f"{row.busy}/{row.threads}",
                ",".join(row.queues),
                _time(row.started_at),
                _time(row.beat_at) + (" (silent)" if row.silent else ""),
            )
            for row in rows
        ),
    )


def _commands() -> Commands:
    return Commands(current_binding(), _actor())


def _actor() -> str:
    import getpass

    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):
        return "command line"


def _standing(job: RecurringJob) -> str:
    """Its next tick, or why there is none."""
    if job.paused:
        return "paused"
    return "orphaned" if job.orphaned_at is not None else _time(job.next_at)


def _time(value: datetime | None) -> str:
    return "" if value is None else value.strftime("%Y-%m-%d %H:%M:%SZ")


def _print_json(rows: Iterable[Any], without: str | None = None) -> None:
    shown = [{k: v for k, v in asdict(row).items() if k != without} for row in rows]
    click.echo(json.dumps(shown, default=str, indent=2))


def _print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    # What stands in it may be anybody's, and a terminal does what it is told.
    table = [tuple(head), *(tuple(map(on_one_line, row)) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())
