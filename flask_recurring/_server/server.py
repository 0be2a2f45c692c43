"""One server: starts its threads, watches over their connections, and stops them in order."""

from __future__ import annotations

import threading
import time

import sqlalchemy as sa

from .._log.logger import logger
from .._run.capture import capture_logging
from .._store import DedicatedConnection, Notification, Store, Topic
from .._store.transitions import Outcome
from .backoff import Backoff
from .claimer import Claimer
from .cleaner import cleanings
from .clock import Clock
from .completer import Completer
from .config import ServerConfig
from .declarations import Declarations
from .failure import failure
from .heartbeat import Heartbeat
from .listener import Listener
from .maintenance_loop import MaintenanceLoop
from .outcome import STOPPING
from .prefetch_buffer import PrefetchBuffer
from .promoter import Promoter
from .reconciler import Reconciler
from .registration import Declaring, Registration
from .report import Report
from .rescuer import Rescuer
from .runner import Runner
from .threads import Threads, guarded
from .ticker import Ticker
from .timeouts import Timeouts
from .wakeup import Wakeup
from .worker import Worker
from .workload import Workload

WATCH_INTERVAL = 1.0
"""Seconds between two looks at connections that may hang."""

LAST_WORD = 0.5
"""Seconds that a run has by default, after the grace time, to notice that it is to stop."""

CLOSING = 5.0
"""Seconds that the last writes may take when the server stops."""


UNHURRIED = 60.0
"""Seconds that maintenance may take at once, beyond the time of a statement."""

IDLE = 5.0
"""Seconds without maintenance for which its connection is not kept open."""


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
        self.ready = threading.Event()
        """Set when the server takes jobs."""
        self._workload = workload
        self._beginning = threading.RLock()
        self._stop_asked = threading.Event()
        self._hurry = threading.Event()
        self._look = threading.Event()
        self._stopped = threading.Event()
        self._threads = Threads()

        database = store.database
        self._dedicated = {
            role: database.dedicated(role)
            for role in ("claim", "complete", "heartbeat", "control", "listen", "maintenance")
        }
        self._unhurried = database.statement_timeout + UNHURRIED
        self._registration = Registration(store, declarations, config, tasks=self._tasks)
        self._buffer = PrefetchBuffer(
            config.threads, on_awaited=lambda: self._control.hasten(self._promoter)
        )
        self._wakeup = Wakeup()
        self._clock = Clock()
        self._timeouts = Timeouts(self._buffer, self._look.set)
        self._completer = Completer(store, self._dedicated["complete"], self._buffer, self._my_id)
        self._runner = Runner(
            workload,
            self._buffer,
            self._completer,
            console_lines=config.console_max_lines,
            console_bytes=config.console_max_bytes,
            time_limit_set=self._timeouts.limit,
            find_previous=store.recurring.previous_run,
        )
        self._heartbeat = Heartbeat(
            store,
            self._buffer,
            server_id=self._my_id,
            register_again=self._register_again,
            liveness=self._liveness,
            interval=config.heartbeat_interval,
            lease=config.lease,
        )
        self._rescuer = Rescuer(
            store,
            self._heartbeat,
            server_id=self._my_id,
            interval=config.heartbeat_interval,
            lease=config.lease,
            manifests_changed=lambda: self._maintenance.hasten(self._reconciler),
        )
        self._listener = Listener(store, self._dedicated["listen"], self._receive)
        self._promoter = Promoter(store)
        self._ticker = Ticker(
            store,
            self._clock,
            tasks=self._tasks,
            notify=self._notify_of_tick,
            promote=lambda: self._control.hasten(self._promoter),
        )
        self._claimer = Claimer(
            store,
            self._dedicated["claim"],
            self._buffer,
            self._wakeup,
            self._clock,
            server_id=self._my_id,
            tasks=self._tasks,
            queues=config.queues,
            poll_interval=config.poll_interval,
            peers=lambda: self._rescuer.peers,
        )
        self._reconciler = Reconciler(
            store, declarations, tasks=self._tasks, interval=config.heartbeat_interval
        )
        self._declaring = Declaring(self._registration)
        self._heartbeat_loop = MaintenanceLoop(
            self._dedicated["heartbeat"], [self._heartbeat, self._rescuer]
        )
        self._control = MaintenanceLoop(self._dedicated["control"], [self._ticker, self._promoter])
        self._maintenance = MaintenanceLoop(
            self._dedicated["maintenance"],
            [self._declaring, self._reconciler, *cleanings(store, config.retention)],
            patience=self._unhurried,
            idle=IDLE,
        )
        self._supervisor = threading.Thread(
            target=guarded,
            args=("supervisor", self._supervise),
            name="recurring-supervisor",
            daemon=True,
        )

    # -- life

    @property
    def id(self) -> int:
        """The id of its row in the database; 0 before there is one."""
        return self._registration.id

    @property
    def name(self) -> str:
        """The name under which it shows."""
        return self._registration.name

    def start(self) -> None:
        """Start in the background; returns at once, also while the database is down."""
        self._supervisor.start()

    def stop(self, grace: float | None = None, last_word: float = LAST_WORD) -> None:
        """Stop in order: take no more, let runs end for a while, give back what did not.

        :param grace: seconds that runs have to come to their end; by default the configured ones.
        :param last_word: seconds that they have after it, to notice that they are to stop.
        """
        grace = self.config.shutdown_timeout if grace is None else grace
        with self._beginning:
            # From here on it begins no more, whatever its setting up is waiting for.
            self._stop_asked.set()
        self._look.set()
        if self._supervisor.ident is None:
            return
        if self._supervisor is not threading.current_thread():
            self._supervisor.join(LAST_WORD)
            if self._supervisor.is_alive() and not self.ready.is_set():
                self._dedicated["maintenance"].abort()
                self._supervisor.join(CLOSING)
        if self.ready.is_set() and not self._stopped.is_set():
            self._wind_down(grace, last_word)
        self._stopped.set()

    def hurry(self) -> None:
        """Cut the grace time of a stop that is under way."""
        self._hurry.set()

    def definitions_changed(self) -> None:
        """Write the application's recurring jobs again, soon: there is a new one."""
        self._maintenance.hasten(self._declaring)
        self._maintenance.hasten(self._reconciler)  # some may have been refused

    @property
    def running(self) -> bool:
        """Whether the server takes jobs now."""
        return self.ready.is_set() and not self._stop_asked.is_set()

    def _supervise(self) -> None:
        if not self.ready.is_set() and not (self._set_up() and self._begin()):
            dedicated = self._dedicated["maintenance"]
            self._registration.deregister(dedicated)
            dedicated.close()
        while not self._stop_asked.is_set():
            self._watch()

    def _set_up(self) -> bool:
        """Prepare the database and register, however long it takes; False if stopped before."""
        backoff = Backoff("Starting, with the job database")
        while not self._stop_asked.is_set():
            try:
                self.store.prepare()
                if self._stop_asked.is_set():
                    break
                with self._dedicated["maintenance"].use(patience=self._unhurried) as connection:
                    if not self.id:
                        self._registration.register(connection)
                    self._registration.declare(connection)
            except Exception as error:
                self._stop_asked.wait(backoff.failed(error))
            else:
                backoff.succeeded()
                return True
        return False

    def _begin(self) -> bool:
        """Start the other threads; False if the server was stopped meanwhile."""
        with self._beginning:
            if self._stop_asked.is_set():
                return False
            capture_logging()
            self.store.subscribe(self._receive)
            self._threads.start("heartbeat", self._heartbeat_loop.run)
            self._threads.start("claimer", self._claimer.run)
            self._threads.start("completer", self._completer.run)
            self._threads.start("control", self._control.run)
            self._threads.start("maintenance", self._maintenance.run)
            self._threads.start("listener", self._listener.run)
            for number in range(self.config.threads):
                self._threads.start(f"worker-{number}", Worker(self._buffer, self._runner).work)
            self.ready.set()
        self._announce()
        return True

    def _announce(self) -> None:
        config = self.config
        where = "" if config.dashboard is None else f" Dashboard: {config.dashboard}"
        logger.notify(
            "Server %s runs the jobs of %s, with %d threads.%s",
            *(self.name, config.application, config.threads, where),
        )

    def _watch(self) -> None:
        """Wait until a run is over its time or it is time to look for what hangs, and see to it."""
        moment = time.monotonic()
        pause = min(WATCH_INTERVAL, self._timeouts.enforce() - moment)
        self._look.wait(max(0.0, pause))
        self._look.clear()
        # If this process stood still, answers may have come that nobody could take: next time.
        stood_still = time.monotonic() - moment > 2 * WATCH_INTERVAL
        for dedicated in self._dedicated.values():
            if dedicated.overdue and not stood_still:
                logger.warning("The database does not answer on the %s connection.", dedicated.role)
                dedicated.abort()
        if not self._stop_asked.is_set():
            self._threads.replace_dead()

    def _wind_down(self, grace: float, last_word: float) -> None:
        deadline = time.monotonic() + grace
        self.store.unsubscribe(self._receive)
        self._maintenance.stop()
        self._claimer.stop()
        self._join("claimer", CLOSING)
        self._quietly_give_back()
        while self._buffer.busy and time.monotonic() < deadline:
            if self._hurry.wait(0.02):
                break
        self._buffer.closed = True
        for run in self._buffer.runs():
            run.context.cancel(STOPPING)
        last = time.monotonic() + last_word
        while self._buffer.busy and time.monotonic() < last:
            self._stopped.wait(0.02)
        # Should one of them still come to its end here, that counts no more.
        for run in self._buffer.runs():
            self._completer.fail(
                failure(run.job, Outcome.RELEASED, run.started, Report("", STOPPING))
            )
        self._buffer.work_queue.end()
        self._completer.stop()
        self._join("completer", CLOSING)
        self._control.stop()
        self._heartbeat_loop.stop()
        self._join("maintenance", LAST_WORD)
        self._join("control", CLOSING)
        self._join("heartbeat", CLOSING)
        # Told before the sign-off: on SQLite it is that write which ends its waiting.
        self._listener.stop()
        self._registration.deregister(self._dedicated["heartbeat"])
        self._join("listener", 1.0)
        for dedicated in self._dedicated.values():
            dedicated.close()
        logger.info("Server %s stopped.", self.name)

    def _quietly_give_back(self) -> None:
        """Give back what was claimed and not begun. If that fails, the others see to it."""
        jobs = [(job.id, job.claim) for job in self._buffer.empty()]
        if not jobs:
            return
        try:
            with self._dedicated["claim"].use() as connection:
                self.store.database.driver.release(connection, jobs)
                self.store.database.driver.notify(connection, Notification(Topic.ANY))
        except Exception as error:
            logger.warning("%d jobs could not be given back: %s", len(jobs), error)
        self._buffer.written(set(jobs))

    # -- threads

    def _join(self, name: str, timeout: float) -> None:
        if not self._threads.join(name, timeout):
            self._links_of(name).abort()
            self._threads.join(name, 1.0)

    def _links_of(self, name: str) -> DedicatedConnection:
        roles = {"claimer": "claim", "completer": "complete", "listener": "listen"}
        return self._dedicated[roles.get(name, name)]

    # -- for the parts

    def _my_id(self) -> int:
        return self.id

    def _liveness(self) -> list[str]:
        return [one.presence for one in self._dedicated.values() if one.presence is not None]

    def _tasks(self) -> tuple[str, ...]:
        return tuple(self._workload.tasks)

    def _register_again(self, connection: sa.Connection) -> None:
        """Begin anew, after others took this server for dead and its jobs over."""
        # What waits here belongs to others now. What runs can't be taken back, only asked to stop;
        # its end will be refused, because its claim has gone by.
        self._buffer.let_go()
        for run in self._buffer.runs():
            run.context.cancel(STOPPING)
        self._registration.register(connection)
        self._maintenance.hasten(self._reconciler)

    def _receive(self, notification: Notification) -> None:
        if notification.topic in (Topic.SCHEDULE, Topic.ANY):
            self._control.hasten(self._ticker)
        if notification.topic in (Topic.CANCEL, Topic.ANY) and self._buffer.running:
            self._heartbeat_loop.hasten(self._heartbeat)
        if notification.topic in (Topic.JOB, Topic.TICK, Topic.LATER, Topic.ANY):
            self._wakeup.notification(notification)

    def _notify_of_tick(self, notification: Notification) -> None:
        # While hints are heard, this host hears of its own ticks when the others do, so that it
        # doesn't win them all.
        if not self._listener.listening:
            self._wakeup.notification(notification)
