"""Servers that are killed, and servers that are told to stop."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable

from flask_recurring import JobState
from tests.chaos.conftest import MakeFleet
from tests.chaos.fleet import Load, keep_up, last_for
from tests.chaos.size import sized
from tests.chaos.verdict import check_jobs, check_ticks, died_in_the_middle
from tests.waiting import wait_for

SOON = 10.0
"""Seconds within which what a killed server held runs again."""


def test_killed_server_has_its_jobs_run_again_within_ten_seconds(
    chaos: MakeFleet, database_url: str, measured: Callable[[str, float], None]
) -> None:
    # With the intervals that everybody has.
    fleet, client = chaos(database_url)
    victim, _ = fleet.start(2)
    ids = client.work(8, 60)

    def running() -> set[int]:
        return {run.job for run in fleet.runs() if run.pid == victim.pid}

    wait_for(lambda: len(running()) == 4, message="the victim's workers being busy")
    lost = running()
    victim.kill()
    assert victim.died_at is not None
    died_at = victim.died_at
    fleet.start(1)

    def again() -> list[float]:
        runs = [run for run in fleet.runs() if run.job in lost and run.pid != victim.pid]
        return [run.begun - died_at for run in runs] if len(runs) == len(lost) else []

    took = max(wait_for(again, SOON, lambda: f"{lost} running again; {fleet.runs()}"))
    measured("running again after SIGKILL", took)
    assert took < SOON
    assert len({run.job for run in fleet.runs()}) == len(ids)
    assert sum(run.pid != victim.pid for run in fleet.runs()) == len(ids)
    for job_id in lost:
        (attempt,) = client.store.jobs.attempts(job_id)
        assert (attempt.outcome, attempt.server) == ("Lost", victim.name)


def test_one_of_three_servers_is_killed_again_and_again(chaos: MakeFleet, some_url: str) -> None:
    fleet, client = chaos(some_url, heartbeat_interval=0.5)
    fleet.start(3, ticks=2)
    ids = client.work(sized(1500, 20_000), 0.005)
    over = threading.Event()
    keeper = threading.Thread(target=keep_up, args=(fleet, 3, over), kwargs={"ticks": 2})
    keeper.start()
    try:
        with Load(client, pause=0.01, seconds=0.05) as load:
            for _ in range(sized(4, 20)):
                last_for(random.uniform(0.3, sized(1.5, 4.0)))
                random.choice(fleet.alive).kill()
            last_for(1.0)
            ids += load.stop()
    finally:
        over.set()
        keeper.join()
    client.wait_until_finished(ids, 60)

    died = died_in_the_middle(fleet)
    check_jobs(fleet, client, ids, died)
    assert check_ticks(fleet, client, seconds=2, excused=died) >= 2


def test_stopped_server_lets_short_jobs_end(chaos: MakeFleet, some_url: str) -> None:
    fleet, client = chaos(some_url)
    (first,) = fleet.start(1, workers=8)
    ids = client.work(sized(600, 5000), 0.05)
    wait_for(lambda: len(fleet.runs()) > 50, message="some of the jobs running")

    assert first.stop(8) == 0

    begun = len(fleet.runs())
    assert all(run.succeeded for run in fleet.runs()), "what had begun came to its end"
    assert begun < len(ids)
    fleet.start(1, workers=20)
    client.wait_until_finished(ids, sized(20, 60))
    check_jobs(fleet, client, ids)


def test_stopped_server_hands_long_jobs_back(
    chaos: MakeFleet, database_url: str, measured: Callable[[str, float], None]
) -> None:
    fleet, client = chaos(database_url, workers=4)
    (first,) = fleet.start(1, shutdown_timeout=1)
    # Whoever hears that it is to stop, and whoever doesn't.
    ids = client.work(2, 120, task="listen") + client.work(2, 120)
    wait_for(lambda: len(fleet.runs()) == 4, message="the long jobs running")
    (second,) = fleet.start(1)
    mine = {run.job for run in fleet.runs() if run.pid == first.pid}
    assert mine == set(ids)

    assert first.stop(8) == 0

    since = time.monotonic()

    def again() -> bool:
        runs = [run for run in fleet.runs() if run.pid == second.pid]
        return sorted(run.job for run in runs) == sorted(ids)

    wait_for(again, 5, lambda: f"all jobs running on the other server: {fleet.runs()}")
    measured("running elsewhere", time.monotonic() - since)
    for job_id in ids:
        job = wait_for(lambda: client.store.jobs.get(job_id))  # noqa: B023
        assert job is not None
        assert (job.state, job.attempt) == (JobState.PROCESSING, 1), "what was cut counts nothing"
        assert [one.outcome for one in client.store.jobs.attempts(job_id)] == (["HandedBack"])


def test_second_sigterm_hands_back_at_once(chaos: MakeFleet, some_url: str) -> None:
    fleet, client = chaos(some_url)
    (first,) = fleet.start(1, shutdown_timeout=60)
    ids = client.work(2, 120) + client.work(2, 120, task="listen")
    wait_for(lambda: len(fleet.runs()) == 4, message="the jobs running")
    first.send(signal.SIGTERM)
    first.wait_for_line("Stopping")
    last_for(1.0, unless=lambda: first.exit_code is not None)

    first.send(signal.SIGTERM)

    assert first.wait(8) == 0
    for job_id in ids:
        job = client.store.jobs.get(job_id)
        assert job is not None
        assert (job.state, job.attempt) == (JobState.ENQUEUED, 0)
    assert client.store.servers.live() == []


def test_job_that_ends_its_process_is_parked_and_harms_no_other(
    chaos: MakeFleet, database_url: str
) -> None:
    fleet, client = chaos(database_url, heartbeat_interval=0.5)
    # Among many, and at their front: what is taken together with it must not share its fate.
    poison = client.scheduler.enqueue_many(
        client.scheduler.tasks["crash"].call() for _ in range(sized(2, 6))
    )
    ids = client.work(sized(300, 3000), 0.01)
    over = threading.Event()
    keeper = threading.Thread(target=keep_up, args=(fleet, 3, over))
    keeper.start()
    try:
        client.wait_until_finished(poison + ids, sized(60, 180))
    finally:
        over.set()
        keeper.join()

    crashed = {run.pid for run in fleet.runs() if run.task == "crash"}
    assert set(client.states(poison).values()) == {"Failed"}
    for job_id in poison:
        assert [one.outcome for one in client.store.jobs.attempts(job_id)] == ["Lost"] * 3
        job = client.store.jobs.get(job_id)
        assert job is not None
        assert job.error == "ServerLost: its server died while it ran, 3 times in all"
    check_jobs(fleet, client, ids, lambda run: run.pid in crashed)
    # The fleet lives.
    fleet.start(1)
    client.wait_until_finished(client.work(10), 10)
