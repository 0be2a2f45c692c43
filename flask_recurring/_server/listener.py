"""Hears hints from other processes and passes them on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from .._log.logger import logger
from .._store import Hint, Link, Store, Topic
from .backoff import Backoff

PATIENCE = 4.0
"""Seconds of silence after which it is made sure that the other end still listens, and until it
must have said so."""


class Listener:
    """Listens on a thread and a connection of its own."""

    def __init__(self, store: Store, link: Link, heard: Callable[[Hint], None]) -> None:
        self._driver = store.database.driver
        self._link = link
        self._heard = heard
        self._stopping = False
        self._backoff = Backoff("Listening for hints")
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
                self._link.close()
                time.sleep(pause)
        self._link.close()

    def stop(self) -> None:
        """End, also in the middle of waiting."""
        self._stopping = True
        self._link.abort()

    def _listen(self) -> None:
        with self._link.use() as connection:
            if connection.info.get("pooled"):
                # Behind a pooler a session can't listen. Polling finds everything, only later.
                logger.info("The connection is pooled: looking for jobs by polling alone.")
                self._stopping = True
                return
            self._driver.listen(connection)
        self._backoff.succeeded()
        self.listening = True
        # Whatever was said before is lost: look once.
        self._heard(Hint(Topic.ANY))
        while not self._stopping:
            with self._link.use(patience=math.inf) as connection:
                hints = self._driver.hear(connection, PATIENCE)
            for hint in hints:
                self._heard(hint)
            if not hints:
                with self._link.use(patience=PATIENCE) as connection:
                    self._driver.ping(connection)
