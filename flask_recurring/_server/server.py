"""One server, from its start to its end."""

from __future__ import annotations

import threading

from .._log.logger import logger
from .._store import Store
from .backoff import Backoff
from .components import Components
from .config import ServerConfig
from .declarations import Declarations
from .shutdown import CLOSING, LAST_WORD, Shutdown
from .threads import guarded
from .workload import Workload


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
        self._beginning = threading.RLock()
        self._stop_asked = threading.Event()
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._components = Components(store, workload, config, declarations, self._wake)
        self._shutdown = Shutdown(self._components)
        self._supervisor = threading.Thread(
            target=guarded,
            args=("supervisor", self._supervise),
            name="recurring-supervisor",
            daemon=True,
        )

    @property
    def id(self) -> int:
        """The id of its row in the database; 0 before there is one."""
        return self._components.registration.id

    @property
    def name(self) -> str:
        """The name under which it shows."""
        return self._components.registration.name

    @property
    def running(self) -> bool:
        """True while the server takes jobs."""
        return self.ready.is_set() and not self._stop_asked.is_set()

    def start(self) -> None:
        """Start in the background; returns at once, also while the database is down."""
        self._supervisor.start()

    def stop(self, grace: float | None = None, last_word: float = LAST_WORD) -> None:
        """Stop in order: take no more, let runs end for a while, release what did not.

        :param grace: seconds that runs have to come to their end; by default the configured ones.
        :param last_word: seconds that they have after it, to notice that they are to stop.
        """
        grace = self.config.shutdown_timeout if grace is None else grace
        with self._beginning:
            # From here on it begins no more, whatever its setting up is waiting for.
            self._stop_asked.set()
        self._wake.set()
        if self._supervisor.ident is None:
            return
        if self._supervisor is not threading.current_thread():
            self._supervisor.join(LAST_WORD)
            if self._supervisor.is_alive() and not self.ready.is_set():
                self._components.connections.maintenance.abort()
                self._supervisor.join(CLOSING)
        if self.ready.is_set() and not self._stopped.is_set():
            self._shutdown.run(grace, last_word)
        self._stopped.set()

    def hurry(self) -> None:
        """Cut the grace time of a stop that is under way."""
        self._shutdown.hurry()

    def definitions_changed(self) -> None:
        """Write the application's recurring jobs again, soon: there is a new one."""
        maintenance = self._components.maintenance
        maintenance.hasten(self._components.declaring)
        maintenance.hasten(self._components.reconciler)  # some may have been refused

    def _supervise(self) -> None:
        if not self.ready.is_set() and not (self._set_up() and self._begin()):
            connection = self._components.connections.maintenance
            self._components.registration.deregister(connection)
            connection.close()
        while not self._stop_asked.is_set():
            self._components.watchdog.watch()
            if not self._stop_asked.is_set():
                self._components.threads.replace_dead()

    def _set_up(self) -> bool:
        """Prepare the database and register, however long it takes; False if stopped before."""
        backoff = Backoff("Starting, with the job database")
        registration = self._components.registration
        dedicated = self._components.connections.maintenance
        while not self._stop_asked.is_set():
            try:
                self.store.prepare()
                if self._stop_asked.is_set():
                    break
                with dedicated.use(patience=self._components.unhurried) as connection:
                    if not self.id:
                        registration.register(connection)
                    registration.declare(connection)
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
            self._components.start()
            self.ready.set()
        config = self.config
        where = "" if config.dashboard is None else f" Dashboard: {config.dashboard}"
        logger.notify(
            "Server %s runs the jobs of %s, with %d threads.%s",
            *(self.name, config.application, config.threads, where),
        )
        return True
