"""Policies as real servers live them."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from functools import partial

from flask import Flask

from flask_recurring import Job, JobContext, JobState, Scheduler
from flask_recurring._recurring.policy import OverlapWord
from tests.applications import Applications, binding_of, store_of, wait_for_job
from tests.store.samples import ticks_of
from tests.waiting import wait_for

EVERY_SECOND = "* * * * * *"
YEARLY = "0 0 1 1 *"


def jobs_of(app: Flask, id: str = "job") -> list[Job]:
    """Its jobs, oldest first."""
    return store_of(app).jobs.page(None, recurring_id=id, limit=200).items[::-1]


class Gate:
    """A task whose runs go on until the test lets them end."""

    def __init__(self) -> None:
        self.running: list[JobContext] = []
        self.most = 0
        self._lock = threading.Lock()
        self._open = threading.Event()

    def run(self, context: JobContext) -> None:
        with self._lock:
            self.running.append(context)
            self.most = max(self.most, len(self.running))
        try:
            while not self._open.wait(0.01):
                context.raise_if_cancelled()
        finally:
            with self._lock:
                self.running.remove(context)

    def open(self) -> None:
        self._open.set()


def make(
    apps: Applications, url: str, gate: Gate, overlap: OverlapWord = "allow"
) -> tuple[Scheduler, Flask]:
    scheduler = Scheduler()

    @scheduler.recurring("job", EVERY_SECOND, retry=False, overlap=overlap)
    def work(context: JobContext) -> None:
        gate.run(context)

    return scheduler, apps.make(scheduler, url)


def test_queue_starts_the_next_run_when_the_one_before_has_ended(
    apps: Applications, database_url: str
) -> None:
    gate = Gate()
    scheduler, app = make(apps, database_url, gate, overlap="queue")
    apps.start(app)
    wait_for(lambda: len(jobs_of(app)) >= 2)
    first, second = jobs_of(app)[:2]
    assert second.state is JobState.AWAITING
    scheduler.pause("job")
    gate.open()
    done = wait_for_job(app, second)
    ended = wait_for_job(app, first)
    assert done.started_at is not None
    assert ended.finished_at is not None
    assert timedelta(0) <= done.started_at - ended.finished_at < timedelta(seconds=1)
    assert gate.most == 1


def test_queue_on_two_servers_runs_one_at_a_time(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    running, most = [0], [0]
    lock = threading.Lock()

    @scheduler.recurring("job", EVERY_SECOND, overlap="queue")
    def work(context: JobContext) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        context.wait(1.3)
        with lock:
            running[0] -= 1

    made = [apps.make(scheduler, database_url, name=name) for name in ("first", "second")]
    for app in made:
        apps.start(app)
    done = wait_for(
        lambda: [job for job in jobs_of(made[0]) if job.state is JobState.SUCCEEDED][2:],
        timeout=20,
    )
    assert done
    assert most == [1]
    ticks = ticks_of(store_of(made[0]), "job", 100)
    assert {tick.outcome for tick in ticks} <= {"run", "skipped", "missed"}
    assert len({tick.due for tick in ticks}) == len(ticks)


def test_cancel_stops_the_one_before(apps: Applications, database_url: str) -> None:
    gate = Gate()
    scheduler, app = make(apps, database_url, gate, overlap="cancel")
    apps.start(app)
    wait_for(lambda: len(jobs_of(app)) >= 2 and jobs_of(app)[0].state is JobState.DELETED)
    scheduler.pause("job")
    gate.open()
    wait_for(lambda: jobs_of(app)[-1].state is JobState.SUCCEEDED)
    assert store_of(app).jobs.attempts(jobs_of(app)[0].id)[0].outcome == "Cancelled"


def test_skip_runs_none_beside_it(apps: Applications, database_url: str) -> None:
    gate = Gate()
    scheduler, app = make(apps, database_url, gate, overlap="skip")
    apps.start(app)
    wait_for(lambda: [tick.outcome for tick in ticks_of(store_of(app), "job")].count("skipped") > 1)
    assert len(jobs_of(app)) == 1
    gate.open()
    wait_for(lambda: len(jobs_of(app)) > 1, timeout=4)
    scheduler.pause("job")
    assert gate.most == 1


def test_an_edit_while_it_runs_leaves_the_run_alone(apps: Applications, database_url: str) -> None:
    gate = Gate()
    scheduler, app = make(apps, database_url, gate)
    apps.start(app)
    wait_for(lambda: gate.running)
    scheduler.override("job", cron=YEARLY, queue="other", actor="Ann")
    count = len(jobs_of(app))
    gate.open()
    for job in jobs_of(app):
        assert wait_for_job(app, job).state is JobState.SUCCEEDED
        assert job.queue == "default"
    assert len(jobs_of(app)) == count, "no tick of the old schedule any more"
    found = scheduler.get_recurring("job")
    assert found is not None
    assert found.next_at == found.schedule.next(store_of(app).now())
    job = scheduler.trigger("job", actor="Ann")
    assert job.queue == "other"
    assert ticks_of(store_of(app), "job", 1)[0].reason == "by Ann"


def _ticked_after(app: Flask, id: str, moment: datetime) -> bool:
    found = store_of(app).recurring.get(id)
    return found is not None and found.last_due is not None and found.last_due > moment


def test_the_policies_of_a_stopped_fleet(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    for misfire in ("latest", "all", "skip"):
        scheduler.recurring(misfire, EVERY_SECOND, name=misfire, misfire=misfire)(lambda: None)
    app = apps.make(scheduler, database_url)
    apps.start(app)
    wait_for(lambda: all(jobs_of(app, id) for id in ("latest", "all", "skip")))
    binding_of(app).stop_server()
    before = {id: len(jobs_of(app, id)) for id in ("latest", "all", "skip")}
    stopped = store_of(app).now()
    wait_for(lambda: store_of(app).now() - stopped > timedelta(seconds=3.2))
    apps.start(app)
    for id in before:
        wait_for(partial(_ticked_after, app, id, stopped + timedelta(seconds=3)))
        scheduler.pause(id)
        ticks = ticks_of(store_of(app), id, 100)
        dues = sorted(tick.due for tick in ticks if tick.due is not None)
        assert dues == [dues[0] + n * timedelta(seconds=1) for n in range(len(dues))], id
    ran = {id: len(jobs_of(app, id)) - count for id, count in before.items()}
    assert ran["all"] >= 3
    assert ran["skip"] >= 3
    missed = [tick for tick in ticks_of(store_of(app), "latest", 100) if not tick.job_id]
    assert len(missed) >= 2
    assert {tick.outcome for tick in missed} == {"missed"}
