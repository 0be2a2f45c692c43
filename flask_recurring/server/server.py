"""One server: starts its threads, watches over their connections, and stops them in order."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from ..capture import capture_logging
from ..declarations import Declarations
from ..store import Hint, Lease, Link, NewServer, Store, Topic
from ..store.completion import Outcome
from .backoff import Backoff, logger
from .claimer import Claimer
from .clock import Clock
from .completer import Completer
from .control import Control
from .heart import MISSED_BEATS, Heart
from .janitor import Janitor, Retention
from .listener import Listener
from .outcome import STOPPING
from .promoter import Promoter
from .registrar import Registrar
from .rescuer import Rescuer
from .runner import Runner, Workload, setback
from .stock import Stock
from .ticker import Ticker
from .timekeeper import Timekeeper
from .wakeup import Wakeup

WATCH_INTERVAL = 1.0
"""Seconds between two looks at connections that may hang."""

LAST_WORD = 0.5
"""Seconds that a run has by default, after the grace time, to notice that it is to stop."""

CLOSING = 5.0
"""Seconds that the last writes may take when the server stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """How a server works. Times are in seconds."""

    application: str
    version: str
    threads: int
    queues: tuple[str, ...]
    retention: Retention
    name: str | None = None
    poll_interval: float = 1.0
    shutdown_timeout: float = 8.0
    heartbeat_interval: float = 2.0
    server_timeout: float = 120.0
    console_max_lines: int = 10_000
    console_max_bytes: int = 1_048_576

    @property
    def lease(self) -> Lease:
        """How long the server may be silent."""
        return Lease(self.heartbeat_interval * MISSED_BEATS, self.server_timeout)


class Server:
    """Takes jobs and runs them, from ``start`` to ``stop``. A stopped server is not started again.

    :param declarations: the application's recurring jobs; written before the first tick.
    """

    def __init__(
        self,
        store: Store,
        workload: Workload,
        config: ServerConfig,
        declarations: Declarations,
    ) -> None:
        self.store = store
        self.config = config
        self.name = config.name or f"{socket.gethostname()}:{os.getpid()}"
        self.id = 0
        self.ready = threading.Event()
        """Set when the server takes jobs."""
        self._workload = workload
        self._declarations = declarations
        self._definitions_changed = False
        self._stop_asked = threading.Event()
        self._hurry = threading.Event()
        self._look = threading.Event()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

        database = store.database
        self._links = {
            role: database.link(role) for role in ("claim", "complete", "control", "listen")
        }
        self._stock = Stock(config.threads, on_awaited=lambda: self._control.hasten(self._promoter))
        self._wakeup = Wakeup()
        self._clock = Clock()
        self._timekeeper = Timekeeper(self._stock, self._look.set)
        self._completer = Completer(store, self._links["complete"], self._stock, self._my_id)
        self._runner = Runner(
            workload,
            self._stock,
            self._completer,
            console_lines=config.console_max_lines,
            console_bytes=config.console_max_bytes,
            time_limit_set=self._timekeeper.limit,
            find_previous=store.recurring.previous_run,
        )
        self._heart = Heart(
            store,
            self._stock,
            server_id=self._my_id,
            sign_on_again=self._sign_on_again,
            presences=self._presences,
            interval=config.heartbeat_interval,
            lease=config.lease,
        )
        self._rescuer = Rescuer(
            store,
            self._heart,
            server_id=self._my_id,
            interval=config.heartbeat_interval,
            lease=config.lease,
        )
        self._listener = Listener(store, self._links["listen"], self._heard)
        self._promoter = Promoter(store)
        self._ticker = Ticker(
            store,
            self._clock,
            tasks=self._tasks,
            tell=self._tell_of_tick,
            promote=lambda: self._control.hasten(self._promoter),
        )
        self._claimer = Claimer(
            store,
            self._links["claim"],
            self._stock,
            self._wakeup,
            self._clock,
            server_id=self._my_id,
            tasks=self._tasks,
            queues=config.queues,
            poll_interval=config.poll_interval,
            peers=lambda: self._rescuer.peers,
        )
        self._registrar = Registrar(
            store, declarations, tasks=self._tasks, interval=config.heartbeat_interval
        )
        self._control = Control(
            self._links["control"],
            [
                *(self._heart, self._rescuer, self._ticker, self._promoter, self._registrar),
                Janitor(store, config.retention),
            ],
        )
        self._supervisor = threading.Thread(
            target=self._supervise, name="recurring-supervisor", daemon=True
        )

    # -- life

    def start(self) -> None:
        """Start in the background; returns at once, also while the database is down."""
        self._supervisor.start()

    def stop(self, grace: float | None = None, last_word: float = LAST_WORD) -> None:
        """Stop in order: take no more, let runs end for a while, give back what did not.

        :param grace: seconds that runs have to come to their end; by default the configured ones.
        :param last_word: seconds that they have after it, to notice that they are to stop.
        """
        grace = self.config.shutdown_timeout if grace is None else grace
        self._stop_asked.set()
        self._look.set()
        if self._supervisor.ident is None:
            return
        if self._supervisor is not threading.current_thread():
            self._supervisor.join(CLOSING)
        if self.ready.is_set() and not self._stopped.is_set():
            self._wind_down(grace, last_word)
        self._stopped.set()

    def hurry(self) -> None:
        """Cut the grace time of a stop that is under way."""
        self._hurry.set()

    def definitions_changed(self) -> None:
        """Write the application's recurring jobs again, soon: there is a new one."""
        self._definitions_changed = True
        self._look.set()

    @property
    def running(self) -> bool:
        """Whether the server takes jobs now."""
        return self.ready.is_set() and not self._stop_asked.is_set()

    def _supervise(self) -> None:
        if not self._set_up():
            return
        capture_logging()
        self.store.subscribe(self._heard)
        self._spawn("claimer", self._claimer.run)
        self._spawn("completer", self._completer.run)
        self._spawn("control", self._control.run)
        self._spawn("listener", self._listener.run)
        for number in range(self.config.threads):
            self._spawn(f"worker-{number}", self._runner.work)
        self.ready.set()
        logger.info("Server %s takes jobs, with %d threads.", self.name, self.config.threads)
        defining = Backoff("Writing recurring jobs")
        while not self._stop_asked.is_set():
            moment = time.monotonic()
            pause = min(WATCH_INTERVAL, self._timekeeper.enforce() - moment)
            self._look.wait(max(0.0, pause))
            self._look.clear()
            # If this process stood still, answers may have come that nobody could take: next time.
            stood_still = time.monotonic() - moment > 2 * WATCH_INTERVAL
            for link in self._links.values():
                if link.overdue and not stood_still:
                    logger.warning("The database does not answer on the %s connection.", link.role)
                    link.abort()
            if self._definitions_changed:
                self._definitions_changed = False
                try:
                    self._declare()
                except Exception as error:
                    self._definitions_changed = True
                    self._stop_asked.wait(defining.failed(error))

    def _set_up(self) -> bool:
        """Prepare the database and sign on, however long it takes; False if stopped before."""
        backoff = Backoff("Starting, with the job database")
        while not self._stop_asked.is_set():
            try:
                self.store.prepare()
                with self._links["control"].use() as connection:
                    if not self.id:
                        self.id = self._sign_on(connection)
                self._declare()
            except Exception as error:
                self._stop_asked.wait(backoff.failed(error))
            else:
                backoff.succeeded()
                return True
        return False

    def _declare(self) -> None:
        """Say what the code declares, and only then write it: whoever sees it in the database
        sees, too, that there is a server that declares it."""
        with self.store.database.connect() as connection:
            manifest = self.store.manifests.write(connection, self._declarations.all())
            self.store.servers.declare(connection, self.id, manifest)
        self._declarations.take_charge()

    def _wind_down(self, grace: float, last_word: float) -> None:
        deadline = time.monotonic() + grace
        self.store.unsubscribe(self._heard)
        self._claimer.stop()
        self._join("claimer", CLOSING)
        self._quietly_give_back()
        while self._stock.busy and time.monotonic() < deadline:
            if self._hurry.wait(0.02):
                break
        self._stock.closed = True
        for run in self._stock.runs():
            run.context.cancel(STOPPING)
        last = time.monotonic() + last_word
        while self._stock.busy and time.monotonic() < last:
            self._stopped.wait(0.02)
        # Should one of them still come to its end here, that counts no more.
        for run in self._stock.runs():
            self._completer.set_back(
                setback(run.job, Outcome.HANDED_BACK, run.started, kind="", message=STOPPING)
            )
        self._stock.inbox.end()
        self._completer.stop()
        self._join("completer", CLOSING)
        self._control.stop()
        self._join("control", CLOSING)
        # Told before the sign-off: on SQLite it is that write which ends its waiting.
        self._listener.stop()
        self._sign_off()
        self._join("listener", 1.0)
        for link in self._links.values():
            link.close()
        logger.info("Server %s stopped.", self.name)

    def _quietly_give_back(self) -> None:
        """Give back what was claimed and not begun. If that fails, the others see to it."""
        jobs = [(job.id, job.claim) for job in self._stock.empty()]
        if not jobs:
            return
        try:
            with self._links["claim"].use() as connection:
                self.store.database.driver.hand_back(connection, jobs)
                self.store.database.driver.announce(connection, Hint(Topic.ANY))
        except Exception as error:
            logger.warning("%d jobs could not be given back: %s", len(jobs), error)
        self._stock.written(set(jobs))

    def _sign_off(self) -> None:
        try:
            with self._links["control"].use() as connection:
                # What should not be here any more, and is by a reply that was lost.
                left = self.store.jobs.claimed_by(connection, self.id)
                if left:
                    self.store.database.driver.hand_back(connection, left)
                self.store.servers.sign_off(connection, self.id)
                self.store.database.driver.announce(connection, Hint(Topic.ANY))
        except Exception as error:
            logger.warning("Server %s could not sign off: %s", self.name, error)

    # -- threads

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=f"recurring-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _join(self, name: str, timeout: float) -> None:
        for thread in self._threads:
            if thread.name == f"recurring-{name}":
                thread.join(timeout)
                if thread.is_alive():
                    self._links_of(name).abort()
                    thread.join(1.0)

    def _links_of(self, name: str) -> Link:
        roles = {"claimer": "claim", "completer": "complete", "listener": "listen"}
        return self._links[roles.get(name, "control")]

    # -- for the parts

    def _my_id(self) -> int:
        return self.id

    def _presences(self) -> list[str]:
        return [one.presence for one in self._links.values() if one.presence is not None]

    def _tasks(self) -> tuple[str, ...]:
        return tuple(self._workload.tasks)

    def _sign_on(self, connection: sa.Connection) -> int:
        manifest = self.store.manifests.write(connection, self._declarations.all())
        new = NewServer(
            name=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            application=self.config.application,
            version=self.config.version,
            threads=self.config.threads,
            queues=self.config.queues,
            tasks=self._tasks(),
            manifest=manifest,
            lease=self.config.lease,
        )
        return self.store.servers.sign_on(connection, new)

    def _sign_on_again(self, connection: sa.Connection) -> None:
        """Begin anew, after others took this server for dead and its jobs over."""
        # What waits here belongs to others now. What runs can't be taken back, only asked to stop;
        # its end will be refused, because its claim has gone by.
        self._stock.let_go()
        for run in self._stock.runs():
            run.context.cancel(STOPPING)
        self.id = self._sign_on(connection)

    def _heard(self, hint: Hint) -> None:
        if hint.topic in (Topic.SCHEDULE, Topic.ANY):
            self._control.hasten(self._ticker)
        if hint.topic in (Topic.CANCEL, Topic.ANY) and self._stock.running:
            self._control.hasten(self._heart)
        if hint.topic in (Topic.JOB, Topic.TICK, Topic.LATER, Topic.ANY):
            self._wakeup.hint(hint)

    def _tell_of_tick(self, hint: Hint) -> None:
        # While hints are heard, this host hears of its own ticks when the others do, so that it
        # doesn't win them all.
        if not self._listener.listening:
            self._wakeup.hint(hint)
