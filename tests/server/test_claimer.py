"""Where a claimer looks for jobs, and how it saves itself a long walk."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from flask_recurring import JobState, Scheduler
from flask_recurring._server.prefetch_buffer import MOST, UNWRITTEN
from flask_recurring._store.claim import Claimed, Lane
from flask_recurring._store.records import Accepted
from tests.applications import Applications, store_of
from tests.waiting import wait_for

WALK = 0.03
"""Seconds that it takes to step over some hundred thousand jobs of other applications."""


def test_jobs_that_nobody_here_knows_are_stepped_over_now_and_then_only(
    apps: Applications, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler()
    count, ran, all_ran = 20_000, iter(range(20_000)), threading.Event()

    @scheduler.task("work")
    def work() -> None:
        if next(ran) == count - 1:
            all_ran.set()

    app = apps.make(scheduler, postgres_url)
    driver = store_of(app).database.driver
    claim = driver.claim
    walks, claims = 0, 0

    def slow_claim(*given: Any, lanes: Sequence[Lane], **options: Any) -> list[Claimed]:
        nonlocal walks, claims
        claims += 1
        if any(lane.mark is None for lane in lanes):
            walks += 1
            time.sleep(WALK)
        return claim(*given, lanes=lanes, **options)

    with app.app_context():
        scheduler.enqueue_many(work.call() for _ in range(count))
    monkeypatch.setattr(driver, "claim", slow_claim)
    apps.start(app)
    began = time.monotonic()
    wait_for(all_ran.is_set, timeout=60)

    # The first two, to be sure; then one a second.
    assert walks <= 3 + (time.monotonic() - began)
    assert claims > 2 * walks


def test_no_more_is_taken_while_the_ends_of_many_jobs_are_not_written(
    apps: Applications, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler()

    @scheduler.task("work")
    def work() -> None: ...

    app = apps.make(scheduler, database_url)
    with app.app_context():
        scheduler.enqueue_many(work.call() for _ in range(9_000))
    driver = store_of(app).database.driver
    complete = driver.complete
    go_on = threading.Event()

    def held_complete(*given: Any) -> Accepted:
        assert go_on.wait(60)
        return complete(*given)

    monkeypatch.setattr(driver, "complete", held_complete)
    server = apps.start(app)
    buffer = server._components.buffer
    try:
        wait_for(lambda: not buffer.busy and buffer.held and buffer.room() == 0)
        assert UNWRITTEN < len(buffer.held) <= UNWRITTEN + MOST + buffer.threads
    finally:
        go_on.set()
    wait_for(lambda: store_of(app).jobs.counts()[JobState.SUCCEEDED].value == 9_000, timeout=60)
