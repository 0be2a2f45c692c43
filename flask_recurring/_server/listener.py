"""Receives notifications from other processes and passes them on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from .._log.logger import logger
from .._store import DedicatedConnection, Notification, Store, Topic
from .backoff import Backoff

PATIENCE = 4.0
"""Seconds of silence after which it is made sure that the other end still listens, and until it
must have said so."""


class Listener:
    """Listens on a thread and a connection of its own."""

    def __init__(
        self, store: Store, dedicated: DedicatedConnection, received: Callable[[Notification], None]
    ) -> None:
        self._driver = store.database.driver
        self._dedicated = dedicated
        self._receive = received
        self._stopping = False
        self._backoff = Backoff("Listening for notifications")
        self.listening = False

    def run(self) -> None:
        """Listen until ``stop`` is called."""
        while not self._stopping:
            try:
                self._listen()
            except Exception as error:
                self.listening = False
                if self._stopping:
                    break
                pause = self._backoff.failed(error)
                self._dedicated.close()
                time.sleep(pause)
        self._dedicated.close()

    def stop(self) -> None:
        """End, also in the middle of waiting."""
        self._stopping = True
        self._dedicated.abort()

    def _listen(self) -> None:
        with self._dedicated.use() as connection:
            if connection.info.get("pooled"):
                # Behind a pooler a session can't listen. Polling finds everything, only later.
                logger.info("The connection is pooled: looking for jobs by polling alone.")
                self._stopping = True
                return
            self._driver.listen(connection)
        self._backoff.succeeded()
        self.listening = True
        # Whatever was said before is lost: look once.
        self._receive(Notification(Topic.ANY))
        while not self._stopping:
            with self._dedicated.use(patience=math.inf) as connection:
                notifications = self._driver.receive(connection, PATIENCE)
            for notification in notifications:
                self._receive(notification)
            if not notifications:
                with self._dedicated.use(patience=PATIENCE) as connection:
                    self._driver.ping(connection)
