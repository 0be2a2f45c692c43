"""Wakes the claimer, and keeps the notifications that it has not handled yet."""

from __future__ import annotations

import threading

from .._store import Notification


class Wakeup:
    """Collects notifications, from any thread, until the claimer takes them."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._notifications: set[Notification] = set()
        self._lock = threading.Lock()

    def receive(self, notification: Notification) -> None:
        """Note it and wake whoever waits."""
        with self._lock:
            self._notifications.add(notification)
        self._event.set()

    def poke(self) -> None:
        """Wake whoever waits, without a notification."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait for a notification or a poke; False if neither came in time."""
        return self._event.wait(max(0.0, seconds))

    def take(self) -> set[Notification]:
        """All notifications since the last time."""
        self._event.clear()
        with self._lock:
            notifications, self._notifications = self._notifications, set()
        return notifications
