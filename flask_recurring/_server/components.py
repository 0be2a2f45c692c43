"""What a server is made of, and which part knows which."""

from __future__ import annotations

import threading

import sqlalchemy as sa

from .._run.capture import capture_logging
from .._store import Notification, Store, Topic
from .claimer import Claimer
from .cleaner import cleanings
from .clock import Clock
from .completer import Completer
from .config import ServerConfig
from .connections import Connections
from .declarations import Declarations
from .heartbeat import Heartbeat
from .listener import Listener
from .outcome import STOPPING
from .periodic_loop import PeriodicLoop
from .prefetch_buffer import PrefetchBuffer
from .promoter import Promoter
from .reconciler import Reconciler
from .registration import Declaring, Registration
from .rescuer import Rescuer
from .runner import Runner
from .threads import Threads
from .ticker import Ticker
from .timeouts import Timeouts
from .wakeup import Wakeup
from .watchdog import Watchdog
from .worker import Worker
from .workload import Workload

UNHURRIED = 60.0
"""Seconds that maintenance may take at once, beyond the time of a statement."""

IDLE = 5.0
"""Seconds without maintenance for which its connection is not kept open."""


class Components:
    """The components of one server. They do nothing before ``start``.

    :param wake: set when the supervisor is to look at once.
    """

    def __init__(
        self,
        store: Store,
        workload: Workload,
        config: ServerConfig,
        declarations: Declarations,
        wake: threading.Event,
    ) -> None:
        self.store = store
        self.unhurried = store.database.statement_timeout + UNHURRIED
        """Seconds that a block of maintenance may take."""
        self.threads = Threads()
        self.connections = connections = Connections(store.database)
        self._workload = workload
        self._config = config
        self._wakeup = Wakeup()
        clock = Clock()

        self.registration = Registration(store, declarations, config, tasks=self._tasks)
        self.declaring = Declaring(self.registration)
        self.reconciler = Reconciler(
            store, declarations, tasks=self._tasks, interval=config.heartbeat_interval
        )
        self.maintenance = PeriodicLoop(
            connections.maintenance,
            [self.declaring, self.reconciler, *cleanings(store, config.retention)],
            patience=self.unhurried,
            idle=IDLE,
        )

        promoter = Promoter(store)
        self._ticker = Ticker(
            store,
            clock,
            tasks=self._tasks,
            notify=self._notify_of_tick,
            promote=lambda: self.control.hasten(promoter),
        )
        self.control = PeriodicLoop(connections.control, [self._ticker, promoter])

        self.buffer = PrefetchBuffer(
            config.threads, on_awaited=lambda: self.control.hasten(promoter)
        )
        timeouts = Timeouts(self.buffer, wake.set)
        self.watchdog = Watchdog(connections, timeouts, wake)
        self.completer = Completer(store, connections.complete, self.buffer, self._server_id)
        self._runner = Runner(
            workload,
            self.buffer,
            self.completer,
            console_lines=config.console_max_lines,
            console_bytes=config.console_max_bytes,
            time_limit_set=timeouts.limit,
            find_previous=store.recurring.previous_run,
        )

        self._heartbeat = Heartbeat(
            store,
            self.buffer,
            server_id=self._server_id,
            register_again=self._register_again,
            liveness=connections.liveness,
            interval=config.heartbeat_interval,
            lease=config.lease,
        )
        rescuer = Rescuer(
            store,
            self._heartbeat,
            manifests_changed=lambda: self.maintenance.hasten(self.reconciler),
        )
        self.heartbeat_loop = PeriodicLoop(connections.heartbeat, [self._heartbeat, rescuer])

        self.listener = Listener(store, connections.listen, self.receive)
        self.claimer = Claimer(
            store,
            connections.claim,
            self.buffer,
            self._wakeup,
            clock,
            server_id=self._server_id,
            tasks=self._tasks,
            queues=config.queues,
            poll_interval=config.poll_interval,
            peers=lambda: rescuer.peers,
        )

    def start(self) -> None:
        """Start all threads but the supervisor's."""
        capture_logging()
        self.store.subscribe(self.receive)
        self.threads.start("heartbeat", self.heartbeat_loop.run)
        self.threads.start("claimer", self.claimer.run)
        self.threads.start("completer", self.completer.run)
        self.threads.start("control", self.control.run)
        self.threads.start("maintenance", self.maintenance.run)
        self.threads.start("listener", self.listener.run)
        for number in range(self._config.threads):
            self.threads.start(f"worker-{number}", Worker(self.buffer, self._runner).work)

    def receive(self, notification: Notification) -> None:
        """Pass a notification on to those that it is for."""
        if notification.topic in (Topic.SCHEDULE, Topic.ANY):
            self.control.hasten(self._ticker)
        if notification.topic in (Topic.CANCEL, Topic.ANY) and self.buffer.running:
            self.heartbeat_loop.hasten(self._heartbeat)
        if notification.topic in (Topic.JOB, Topic.TICK, Topic.LATER, Topic.ANY):
            self._wakeup.receive(notification)

    def _notify_of_tick(self, notification: Notification) -> None:
        # While it listens, this host learns of its own ticks when the others do, so that it
        # doesn't win them all.
        if not self.listener.listening:
            self._wakeup.receive(notification)

    def _register_again(self, connection: sa.Connection) -> None:
        """Register anew, after others took this server for dead and its jobs over."""
        # What waits here belongs to others now. What runs can't be taken back, only asked to stop;
        # its end will be refused, because its claim has gone by.
        self.buffer.let_go()
        for run in self.buffer.runs():
            run.context.cancel(STOPPING)
        self.registration.register(connection)
        self.maintenance.hasten(self.reconciler)

    def _server_id(self) -> int:
        return self.registration.id

    def _tasks(self) -> tuple[str, ...]:
        return tuple(self._workload.tasks)
