"""Servers as real processes, and the application that gives them work."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from flask_recurring import JobState, Scheduler
from flask_recurring._store import Store
from flask_recurring.errors import RecurringError
from tests.applications import Applications, store_of
from tests.chaos.application import TICK_SECONDS, make_scheduler
from tests.chaos.records import VARIABLE, Run, read_runs
from tests.processes import Process
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
COMMAND = ("-m", "flask", "--app", "tests.chaos.application", "recurring", "worker")

RECOVERY = 15.0
"""Seconds after a fault's end within which all is well again, without anybody doing anything."""


class Host(Process):
    """A server process. How it came to its end is remembered."""

    def __init__(self, name: str, *, folder: Path, env: Mapping[str, str | None]) -> None:
        self.name = name
        self.died_at: float | None = None
        """When it was killed, on the clock that all processes of the machine share."""
        super().__init__([sys.executable, *COMMAND], log=folder / f"{name}.log", env=env, cwd=ROOT)

    def wait_until_ready(self) -> None:
        """Wait until it takes jobs."""
        self.wait_for_line(" runs the jobs of ", timeout=60)

    def kill(self) -> None:
        self.died_at = time.monotonic()
        super().kill()


class Fleet:
    """Several servers on one database.

    :param folder: takes records and logs.
    :param settings: the scheduler's for all of them, in lower case and without their prefix.
    """

    def __init__(self, url: str, folder: Path, **settings: Any) -> None:
        self.url = url
        self.folder = folder
        self.hosts: list[Host] = []
        """All that ever were."""
        self._settings = settings
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        self._records = folder / "records"
        self._records.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def begin(
        self,
        url: str | None = None,
        *,
        ticks: int | None = None,
        env: Mapping[str, str | None] | None = None,
        **settings: Any,
    ) -> Host:
        """Start a server.

        :param url: where it finds the database, if not where the others do.
        :param ticks: seconds between the ticks of its recurring job.
        :param settings: the scheduler's, besides those of the fleet.
        """
        name = f"host-{next(self._numbers)}"
        given = {"workers": 4, **self._settings, **settings, "server_name": name}
        variables = {f"FLASK_RECURRING_{key.upper()}": str(value) for key, value in given.items()}
        host = Host(
            name,
            folder=self.folder,
            env={
                "FLASK_RECURRING_DATABASE_URL": url or self.url,
                VARIABLE: str(self._records),
                TICK_SECONDS: None if ticks is None else str(ticks),
                **variables,
                **(env or {}),
            },
        )
        self.hosts.append(self._stack.enter_context(host))
        return host

    def start(self, count: int, url: str | None = None, **options: Any) -> list[Host]:
        """Start servers as ``begin`` does, and wait until all of them take jobs."""
        hosts = [self.begin(url, **options) for _ in range(count)]
        for host in hosts:
            host.wait_until_ready()
        return hosts

    @property
    def alive(self) -> list[Host]:
        """Those that run now."""
        return [host for host in self.hosts if host.exit_code is None]

    def runs(self) -> list[Run]:
        """All runs so far."""
        return read_runs(self._records)

    def host_of(self, run: Run) -> Host:
        """The server that the run belongs to."""
        return next(host for host in self.hosts if host.pid == run.pid)

    def stop(self) -> None:
        """Stop all in order, and wait until they have ended."""
        for host in self.alive:
            host.send(signal.SIGTERM)
        for host in self.hosts:
            if host.died_at is None:
                host.wait(60)


class Client:
    """The application that enqueues, in the test's process."""

    def __init__(self, folder: Path, url: str, **settings: Any) -> None:
        self.scheduler: Scheduler = make_scheduler()
        self._applications = Applications(folder)
        self.app = self._applications.make(self.scheduler, url, **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._applications.__exit__(kind, error, trace)

    @property
    def store(self) -> Store:
        return store_of(self.app)

    def work(
        self, count: int, seconds: float = 0.0, task: str = "work", **options: Any
    ) -> list[int]:
        """Enqueue so many jobs that take so long each, and return their ids."""
        bound = self.scheduler.tasks[task].options(**options)
        return self.scheduler.enqueue_many(bound.call(seconds) for _ in range(count))

    def states(self, ids: Iterable[int]) -> dict[int, str]:
        """The states of these jobs."""
        job = self.store.database.tables.job.c
        with self.store.database.connect() as connection:
            rows = connection.execute(
                sa.select(job.id, job.state).where(job.id.in_(list(ids)))
            ).all()
        return {row.id: row.state for row in rows}

    def wait_until_finished(self, ids: Iterable[int], timeout: float) -> None:
        """Wait until all of these jobs are in a final state."""
        wanted = list(ids)
        final = {state.value for state in JobState if state.finished}

        def open_jobs() -> dict[int, str]:
            try:
                states = self.states(wanted)
            except (RecurringError, sa.exc.SQLAlchemyError) as error:
                return {0: str(error)}
            return {id: state for id, state in states.items() if state not in final}

        wait_for(
            lambda: not open_jobs(),
            timeout,
            lambda: f"the end of all jobs; still open: {dict(list(open_jobs().items())[:20])}",
            interval=0.1,
        )


class Load:
    """Enqueues one job after the other, whatever happens, until it is told to stop.

    Each job has a key, and an enqueuing that failed is done again with it: so each exists once,
    however often a reply was lost.

    :param pause: seconds between two jobs.
    :param seconds: how long each takes.
    """

    def __init__(self, client: Client, *, pause: float = 0.005, seconds: float = 0.0) -> None:
        self.ids: list[int] = []
        self.refusals = 0
        self._client = client
        self._pause = pause
        self._task = client.scheduler.tasks["work"]
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._unexpected: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> list[int]:
        """Enqueue no more; returns the ids of all."""
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the last enqueue does not return"
        if self._unexpected is not None:
            raise self._unexpected
        return self.ids

    def wait_for_more(self, count: int, timeout: float = RECOVERY) -> None:
        """Wait until so many more jobs were enqueued."""
        goal = len(self.ids) + count
        wait_for(
            lambda: len(self.ids) >= goal or self._unexpected is not None,
            timeout,
            lambda: f"{count} more jobs to be enqueued; refused so far: {self.refusals}",
        )

    def _run(self) -> None:
        try:
            for number in itertools.count():
                if self._stopping.wait(self._pause):
                    return
                self.ids.append(self._enqueue(f"load-{number}"))
        except BaseException as error:
            self._unexpected = error

    def _enqueue(self, key: str) -> int:
        bound = self._task.options(key=key)
        while True:
            try:
                return bound.enqueue(self._seconds).id
            except RecurringError:
                self.refusals += 1
                self._stopping.wait(0.05)


def keep_up(fleet: Fleet, count: int, until: threading.Event, **options: Any) -> None:
    """Replace servers that have ended, as a process manager does, until the event is set."""
    while not until.wait(0.05):
        while len(fleet.alive) < count:
            fleet.begin(**options)


def last_for(seconds: float, unless: Callable[[], object] = lambda: False) -> None:
    """Let a fault last for so long; an ``AssertionError`` if what it must not bring comes true."""
    never = threading.Event()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        found = unless()
        assert not found, f"what the fault must not bring has come true: {found}"
        never.wait(min(left, 0.1))


def recovery(fleet: Fleet, client: Client, since: float, bound: float = RECOVERY) -> float:
    """Seconds from ``since`` until every server that lives has run a job enqueued after it.

    The servers must manage that without help, within ``bound`` seconds.
    """
    hosts = {host.pid: host.name for host in fleet.alive}
    missing = dict(hosts)
    probes: list[int] = []
    deadline = since + bound

    def all_have() -> bool:
        waiting = 0
        if probes:
            runs = [run for run in fleet.runs() if run.job in mine and run.begun >= since]
            for run in runs:
                missing.pop(run.pid, None)
            waiting = len(mine) - len({run.job for run in runs})
        if missing and waiting < len(hosts):
            try:
                probes.extend(client.work(4 * len(hosts), 0.1))
            except RecurringError:
                return False
            mine.update(probes)
        return not missing

    mine: set[int] = set()
    wait_for(
        all_have,
        max(0.0, deadline - time.monotonic()),
        lambda: (
            f"after the fault, {', '.join(missing.values())} running jobs again\n"
            + "\n".join(host.output()[-3000:] for host in fleet.alive)
        ),
        interval=0.05,
    )
    took = max(run.begun for run in fleet.runs() if run.job in mine) - since
    client.wait_until_finished(mine, RECOVERY)
    return took
