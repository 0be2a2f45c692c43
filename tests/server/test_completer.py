"""What wakes the thread that writes the ends of runs."""

from __future__ import annotations

import time

from flask_recurring import Scheduler
from flask_recurring._server.completer import Completer
from flask_recurring._server.prefetch_buffer import PrefetchBuffer
from flask_recurring._store.completion import Success
from tests.applications import Applications, store_of


def test_each_end_wakes_the_thread_whatever_came_before_it(
    apps: Applications, database_url: str
) -> None:
    # Two workers may hand over their ends before either of them looks how many there are.
    store = store_of(apps.make(Scheduler(), database_url))
    completer = Completer(store, store.database.dedicated("complete"), PrefetchBuffer(1), lambda: 1)
    end = Success(1, 1, time.monotonic(), time.monotonic(), None, "work", 0.0)
    for _ in range(3):
        completer.succeeded(end)
        assert completer._something.is_set()
        completer._something.clear()
