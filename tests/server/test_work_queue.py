"""The queue between the claimer and the workers: nothing is lost in it, no worker oversleeps."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from flask_recurring._server.work_queue import WorkQueue
from flask_recurring._store.claim import Claimed
from tests.waiting import wait_for

THREADS = 10


def jobs(numbers: Iterable[int]) -> list[Claimed]:
    """Jobs with these ids."""
    moment = datetime.now(UTC)
    return [
        Claimed(number, 1, 1, "work", "[]", "default", 0, moment, 0.0, None, None, None)
        for number in numbers
    ]


@contextmanager
def workers(
    work_queue: WorkQueue, run: Callable[[Claimed], object] = lambda job: None
) -> Iterator[list[tuple[int, str]]]:
    """Threads that take jobs to the end; yields ids and who took them."""
    taken: list[tuple[int, str]] = []

    def work() -> None:
        while (job := work_queue.take()) is not None:
            taken.append((job.id, threading.current_thread().name))
            run(job)

    threads = [
        threading.Thread(target=work, name=f"worker {number}", daemon=True)
        for number in range(work_queue._threads)
    ]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(work_queue._waiting) == len(threads))
        yield taken
    finally:
        work_queue.end()
        for thread in threads:
            thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("average_duration", [None, 1e-6, 1.0])
def test_jobs_are_taken_in_their_order(average_duration: float | None) -> None:
    work_queue = WorkQueue(THREADS, lambda: average_duration)
    work_queue.put(jobs(range(100)))
    work_queue.put(jobs(range(100, 110)))
    work_queue.end()
    taken = [work_queue.take() for _ in range(110)]
    assert [job.id for job in taken if job is not None] == list(range(110))
    assert [work_queue.take() for _ in range(THREADS)] == [None] * THREADS


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standby worker that never loses its patience."""
    monkeypatch.setattr("flask_recurring._server.work_queue.PATIENCE", 60.0)


@pytest.mark.usefixtures("patient")
def test_flood_of_quick_jobs_wakes_few_workers() -> None:
    work_queue = WorkQueue(THREADS, lambda: 1e-6)
    with workers(work_queue) as taken:
        work_queue.put(jobs(range(1_000)))
        wait_for(lambda: len(taken) == 1_000)
        assert len({name for _, name in taken}) <= 2
        assert len(work_queue._standing_by) <= 1


@pytest.mark.parametrize("count", [THREADS, 1_000])
@pytest.mark.parametrize("average_duration", [None, 1e-6, 1.0])
def test_jobs_that_take_longer_than_thought_come_to_all_workers(
    average_duration: float | None, count: int
) -> None:
    go_on = threading.Event()
    work_queue = WorkQueue(THREADS, lambda: average_duration)
    with workers(work_queue, lambda job: go_on.wait(30)) as taken:
        work_queue.put(jobs(range(count)))
        try:
            wait_for(lambda: len(taken) == THREADS)
            assert {id for id, _ in taken} == set(range(THREADS))
        finally:
            go_on.set()


def test_workers_are_woken_when_jobs_turn_out_to_be_slower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flask_recurring._server.work_queue.PATIENCE", 0.2)
    average_duration = 1e-6
    work_queue = WorkQueue(THREADS, lambda: average_duration)
    stopped = threading.Event()
    # One of them always comes for the next job in time: for that reason nobody is woken.
    with workers(work_queue, lambda job: stopped.wait(0.02 if job.id else 0.0)) as taken:
        work_queue.put(jobs(range(1_000)))
        wait_for(lambda: len(taken) > 20)
        assert len({name for _, name in taken}) <= 2
        average_duration = 0.02
        wait_for(lambda: len({name for _, name in taken}) == THREADS)
        stopped.set()


@pytest.mark.usefixtures("patient")
def test_standby_worker_comes_for_a_job_like_one_that_sleeps() -> None:
    go_on, quick = threading.Event(), threading.Event()
    work_queue = WorkQueue(3, lambda: 1e-6)
    with workers(work_queue, lambda job: (quick if job.id < 9 else go_on).wait(30)) as taken:
        try:
            work_queue.put(jobs(range(9)))  # a flood: one runs, one stands by
            wait_for(lambda: len(work_queue._standing_by) == 1 and len(taken) == 1)
            work_queue._jobs.clear()
            quick.set()
            wait_for(lambda: len(work_queue._waiting) == 2)
            for number in (10, 11, 12):
                work_queue.put(jobs([number]))
            wait_for(lambda: [id for id, _ in taken[1:]] == [10, 11, 12])
        finally:
            quick.set()
            go_on.set()


def test_few_jobs_wake_a_worker_each() -> None:
    work_queue = WorkQueue(THREADS, lambda: 1e-6)
    together = threading.Barrier(THREADS)
    with workers(work_queue, lambda job: together.wait(30)) as taken:
        work_queue.put(jobs(range(THREADS)))
        wait_for(lambda: len(taken) == THREADS)
    assert not together.broken


def test_nothing_is_lost_and_nothing_taken_twice() -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    work_queue = WorkQueue(THREADS, lambda: rng.choice([None, 1e-6, 1e-4, 1e-2]))
    with workers(work_queue) as taken:
        sent = 0
        while sent < 50_000:
            count = rng.choice([1, 2, THREADS, 50, 1_000])
            work_queue.put(jobs(range(sent, sent + count)))
            sent += count
            if rng.random() < 0.2:
                some = sent
                wait_for(lambda: len(taken) == some, interval=0)  # noqa: B023
    assert Counter(id for id, _ in taken) == Counter(range(sent)), f"seed {seed}"


def test_what_is_cleared_is_taken_by_nobody() -> None:
    work_queue = WorkQueue(THREADS, lambda: 1e-6)
    work_queue.put(jobs(range(5)))
    assert len(work_queue) == 5
    assert [job.id for job in work_queue.clear()] == [0, 1, 2, 3, 4]
    assert len(work_queue) == 0
    with workers(work_queue) as taken:
        work_queue.put(jobs([7]))
        wait_for(lambda: taken)
    assert [id for id, _ in taken] == [7]
