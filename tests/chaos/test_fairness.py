"""Who gets what: between hosts, priorities and queues, under load."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from tests.chaos.conftest import MakeFleet
from tests.chaos.records import Run
from tests.chaos.size import sized
from tests.chaos.verdict import check_jobs
from tests.waiting import wait_for

Measured = Callable[[str, float], None]


def span(runs: Sequence[Run]) -> float:
    """Seconds from the first begin to the last end."""
    return max(run.ended or 0.0 for run in runs) - min(run.begun for run in runs)


@pytest.mark.parametrize("quick_before", [False, True], ids=["fresh", "after quick jobs"])
def test_hosts_take_slow_jobs_in_proportion_to_their_free_threads(
    chaos: MakeFleet, some_url: str, measured: Measured, quick_before: bool
) -> None:
    fleet, client = chaos(some_url)
    small, large = fleet.start(1, workers=4) + fleet.start(1, workers=16)
    if quick_before:
        # They have learned that jobs take no time, and would take many at once.
        client.wait_until_finished(client.work(1000), 20)
    count, seconds = sized(80, 200), 1.0
    ids = client.work(count, seconds)
    client.wait_until_finished(ids, 60)

    runs = [run for run in fleet.runs() if run.job in set(ids)]
    check_jobs(fleet, client, ids)
    took, ideal = span(runs), count / 20 * seconds
    measured("time over the ideal time", took / ideal)
    assert took < ideal * 1.1
    each = Counter(run.pid for run in runs)
    # Where the count does not divide evenly, a round more or less.
    assert abs(each[small.pid] - count * 4 / 20) <= 4
    assert abs(each[large.pid] - count * 16 / 20) <= 4


def test_priorities_and_precedence_hold_under_load(chaos: MakeFleet, some_url: str) -> None:
    fleet, client = chaos(some_url, queues="first,*,last", workers=4)
    # Floods that keep both hosts busy for seconds, where all of it could be taken.
    last = client.work(sized(1500, 15_000), 0.01, queue="last")
    plain = client.work(sized(600, 6000), 0.01, queue="plain", priority=5)
    fleet.start(2)
    wait_for(lambda: len(fleet.runs()) > 50, message="the flood running")
    waits: list[float] = []
    asked: list[int] = []

    def begun(job_id: int) -> float:
        return next((run.begun for run in fleet.runs() if run.job == job_id), 0.0)

    for number in range(sized(12, 60)):
        queue, priority = (("first", 0), ("plain", -1), ("plain", 4))[number % 3]
        enqueued = time.monotonic()
        (job_id,) = client.work(1, queue=queue, priority=priority)
        asked.append(job_id)
        waits.append(wait_for(partial(begun, job_id), 10) - enqueued)
    assert "Enqueued" in client.states(last).values(), "it was a flood"
    # What precedes waits for a worker and for what was taken already, not for the flood.
    assert statistics.median(waits) < 0.5

    client.wait_until_finished(last + plain, 120)
    check_jobs(fleet, client, last + plain + asked)
    runs = {run.job: run.begun for run in fleet.runs()}
    order = sorted(last + plain, key=lambda job_id: runs[job_id])
    before = set(order[: len(plain)])
    # Some of what precedes may be at one host while the other one takes from the last queue.
    assert len(before & set(plain)) > 0.95 * len(plain)


def test_flood_in_one_queue_does_not_starve_its_equals(chaos: MakeFleet, some_url: str) -> None:
    fleet, client = chaos(some_url, workers=4)
    flood = client.work(sized(3000, 30_000), 0.004, queue="flood")
    others = client.work(sized(200, 1000), 0.004, queue="others")
    fleet.start(2)
    client.wait_until_finished(others, 60)
    states = Counter(client.states(flood).values())
    # Equals take turns, so they are done when about as many of the flood are.
    assert states["Succeeded"] < len(others) * 5 + 200
    client.wait_until_finished(flood, 120)
    check_jobs(fleet, client, flood + others)
