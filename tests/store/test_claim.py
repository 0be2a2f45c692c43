"""The claim: which jobs a server gets, in which order, and that nobody else gets them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_recurring._store import Store
from flask_recurring._store.claim import Claimed, Lane
from flask_recurring.job import JobState
from tests.store.conftest import Hire, OpenStore
from tests.store.race import race
from tests.store.samples import MOMENT, change, fetch, new_job, postgresql_only, row_count
from tests.store.worker import Worker, success

ONE = timedelta(microseconds=1)


def ids(jobs: Sequence[Claimed]) -> list[int]:
    return [job.id for job in jobs]


# -- one claim


def test_a_claim_gives_all_that_a_run_needs(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(
        new_job(
            arguments='[["ü"],{"b":[1.5,"\\u0000"]}]',
            queue="mail",
            priority=-3,
            run_at=MOMENT,
            recurring_id="nightly",
            due=MOMENT - ONE,
            key="k",
            options='{"timeout":3}',
        )
    )
    before = store.now()
    claimed = worker.claim_one()
    assert claimed == Claimed(
        id=job.id,
        claim=1,
        attempt=1,
        task="work",
        arguments='[["ü"],{"b":[1.5,"\\u0000"]}]',
        queue="mail",
        priority=-3,
        run_at=MOMENT,
        waited=claimed.waited,
        recurring_id="nightly",
        due=MOMENT - ONE,
        options='{"timeout":3}',
    )
    assert claimed.waited >= (before - MOMENT).total_seconds()
    running = fetch(store, job.id)
    assert (running.state, running.claim, running.attempt) == (JobState.PROCESSING, 1, 1)
    assert running.server == "worker"
    assert running.started_at is not None
    assert before <= running.started_at <= store.now()


def test_a_job_waits_from_when_it_may_run(store: Store, worker: Worker) -> None:
    store.jobs.insert(new_job(run_at=store.now() - timedelta(seconds=30)))
    assert 30 <= worker.claim_one().waited < 40


def test_nothing_to_claim(store: Store, worker: Worker, hire: Hire) -> None:
    lanes = [Lane("default", 0), Lane("mail", 3)]
    assert worker.claim(lanes=lanes) == []
    store.jobs.insert(new_job())
    assert worker.claim(0, lanes) == []
    knows_nothing = hire(tasks=())
    assert knows_nothing.claim(lanes=lanes) == []
    assert worker.claim(lanes=[Lane("mail", 0), Lane("default", 1)]) == []
    assert len(worker.claim(lanes=lanes)) == 1
    assert worker.claim(lanes=lanes) == []


def test_only_what_is_due(store: Store, worker: Worker) -> None:
    due = store.jobs.insert(new_job(run_at=MOMENT))
    ahead = store.jobs.insert(new_job(delay=0.5))
    far = store.jobs.insert(new_job(delay=10**9))
    assert ids(worker.claim()) == [due.id]
    change(store, store.database.tables.job, run_at=MOMENT)
    assert ids(worker.claim()) == [ahead.id, far.id]


def test_only_tasks_that_the_server_knows(store: Store, worker: Worker, hire: Hire) -> None:
    store.jobs.insert_many(new_job(task="strange") for _ in range(300))
    mine = store.jobs.insert(new_job())
    assert ids(worker.claim(5)) == [mine.id]
    assert worker.claim(5) == []
    other = hire(tasks=("play", "strange", "work"))
    assert len(other.claim(400)) == 300
    store.jobs.insert(new_job(task="work "))
    store.jobs.insert(new_job(task="WORK"))
    assert worker.claim() == []


def test_a_server_that_has_stopped_gets_nothing(store: Store, worker: Worker, hire: Hire) -> None:
    store.jobs.insert(new_job())
    store.servers.deregister(worker.connection, worker.id)
    assert worker.claim() == []
    unknown = hire()
    unknown.id += 1000
    assert unknown.claim() == []
    assert len(hire().claim()) == 1


def test_each_claim_counts_and_none_is_ever_taken_off(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    for number in range(1, 6):
        run = worker.claim_one()
        assert (run.claim, run.attempt) == (number, 1)
        assert worker.release(run) == 1
        back = fetch(store, job.id)
        assert (back.claim, back.attempt, back.state) == (number, 0, JobState.ENQUEUED)
        assert back.started_at is None
    worker.fail(worker.claim_one(), retry_in=0)
    run = worker.claim_one()
    assert (run.claim, run.attempt) == (7, 2)


# -- order


QUEUES = ("a", "b", "c")


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_claims_come_in_order(store: Store, worker: Worker, data: st.DataObject) -> None:
    drawn = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(QUEUES),
                st.sampled_from([-10, 0, 2]),
                st.sampled_from([0, 1, 2, 1_000_000]),
                st.sampled_from(["work", "work", "strange"]),
            ),
            max_size=30,
        ),
        label="jobs",
    )
    queues = data.draw(st.permutations(QUEUES), label="precedence")
    queues = queues[: data.draw(st.integers(1, 3), label="queues")]
    limit = data.draw(st.integers(1, 12), label="limit")

    change(store, store.database.tables.job, state="Deleted")  # those of the example before
    news = [
        new_job(queue=queue, priority=priority, run_at=MOMENT + offset * ONE, task=task)
        for queue, priority, offset, task in drawn
    ]
    found = store.jobs.insert_many(news)
    lanes = [Lane(queue, priority) for queue in queues for priority in (-10, 0, 2)]
    wanted = [
        id
        for *_, id in sorted(
            (queues.index(new.queue), new.priority, new.run_at, id)
            for new, id in zip(news, found, strict=True)
            if new.task == "work" and new.queue in queues
        )
    ]
    claimed: list[int] = []
    while jobs := worker.claim(limit, lanes):
        assert len(jobs) == limit or len(claimed) + len(jobs) == len(wanted)
        claimed += ids(jobs)
    assert claimed == wanted


def test_queues_take_precedence_as_their_lanes_are_passed(store: Store, worker: Worker) -> None:
    slow = store.jobs.insert(new_job(queue="slow", priority=-5))
    fast = store.jobs.insert(new_job(queue="fast", priority=5))
    lanes = [Lane("fast", 5), Lane("slow", -5)]
    jobs = worker.claim(1, lanes)
    assert ids(jobs) == [fast.id]
    worker.release(*jobs)
    assert ids(worker.claim(1, lanes[::-1])) == [slow.id]


def test_many_lanes(store: Store, worker: Worker) -> None:
    """As when an application gives each job a priority of its own."""
    count = 2_000
    lanes = [Lane(f"q{number % 20}", number // 20) for number in range(count)]
    found = store.jobs.insert_many(
        new_job(queue=lane.queue, priority=lane.priority) for lane in lanes
    )
    assert len(worker.lanes()) == count
    moment = time.monotonic()
    assert ids(worker.claim(10, lanes)) == found[:10]
    assert ids(worker.claim(1_500, lanes)) == found[10:1_510]
    assert ids(worker.claim(1_500, lanes)) == found[1_510:]
    assert worker.claim(10, lanes) == []
    assert time.monotonic() - moment < 15


# -- marks


def test_a_mark_leaves_out_what_lies_before_it(store: Store, worker: Worker) -> None:
    times = [MOMENT + number * ONE for number in range(4)]
    found = store.jobs.insert_many(new_job(run_at=at, queue=q) for q in "ab" for at in times)
    marked = [Lane("a", 0, mark=times[2]), Lane("b", 0)]
    assert ids(worker.claim(100, marked)) == found[2:]
    assert worker.claim(100, marked) == []
    assert ids(worker.claim(100, [Lane("a", 0)])) == found[:2]


# -- several at once


def test_no_job_goes_to_two_servers(store: Store, open_store: OpenStore, hire: Hire) -> None:
    count = 3_000
    found = store.jobs.insert_many(
        new_job(queue="ab"[number % 2], priority=number % 3) for number in range(count)
    )
    workers = [hire(open_store(), name=f"worker-{number}") for number in range(4)]

    def run(number: int) -> list[Claimed]:
        worker, claimed, idle = workers[number], [], 0
        while idle < 3:
            jobs = worker.claim(17 + 10 * number)
            idle = 0 if jobs else idle + 1
            claimed += jobs
            if len(claimed) % 2:
                worker.complete([success(job) for job in jobs])
        return claimed

    claimed = [job for jobs in race(4, run) for job in jobs]
    assert sorted(ids(claimed)) == found
    assert {(job.claim, job.attempt) for job in claimed} == {(1, 1)}
    assert worker_counts(store) == count


def worker_counts(store: Store) -> int:
    """How many jobs were taken once."""
    counts = store.jobs.counts()
    return counts[JobState.PROCESSING].value + counts[JobState.SUCCEEDED].value


@postgresql_only
def test_a_claim_waits_for_nobody(store: Store, worker: Worker, hire: Hire) -> None:
    first, second, third = store.jobs.insert_many(new_job() for _ in range(3))
    slow = hire()
    with slow.driver.transaction(slow.connection):
        assert ids(slow.claim(1)) == [first]
        with store.database.begin() as connection:
            # Somebody else holds the second, too.
            connection.exec_driver_sql(
                "SELECT 1 FROM flask_recurring.job WHERE id = %s FOR UPDATE", (second,)
            )
            assert ids(worker.claim(1)) == [third]
    assert ids(worker.claim()) == [second]


# -- handing back


def test_handing_back_restores_the_attempt(store: Store, worker: Worker) -> None:
    found = store.jobs.insert_many(new_job(run_at=MOMENT) for _ in range(3))
    jobs = worker.claim()
    assert worker.release(*jobs) == 3
    assert worker.release(*jobs) == 0
    assert store.jobs.claimed_by(worker.connection, worker.id) == []
    for id in found:
        job = fetch(store, id)
        assert (job.state, job.attempt, job.claim) == (JobState.ENQUEUED, 0, 1)
        assert job.run_at == MOMENT
    assert row_count(store, store.database.tables.attempt) == 0
    again = worker.claim()
    assert ids(again) == found
    assert {(job.claim, job.attempt) for job in again} == {(2, 1)}
    assert worker.release() == 0


def test_only_the_holder_of_the_claim_hands_back(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    old = worker.claim_one()
    worker.release(old)
    new = worker.claim_one()
    assert worker.release(old) == 0
    assert worker.release(new._replace(claim=7)) == 0
    assert fetch(store, job.id).state is JobState.PROCESSING
    assert worker.succeed(new) == 1
    assert worker.release(new) == 0
    assert fetch(store, job.id).state is JobState.SUCCEEDED


def test_a_job_that_was_deleted_before_it_began_never_runs(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    run = worker.claim_one()
    assert store.jobs.delete(job.id) is True
    assert worker.release(run) == 1
    gone = fetch(store, job.id)
    assert gone.state is JobState.DELETED
    assert gone.finished_at is not None
    assert worker.claim() == []
    assert [one.id for one in store.jobs.page(JobState.DELETED).items] == [job.id]


def test_jobs_that_a_server_holds(store: Store, worker: Worker, hire: Hire) -> None:
    store.jobs.insert_many(new_job() for _ in range(4))
    mine, others = worker.claim(2), hire().claim(2)
    held = store.jobs.claimed_by(worker.connection, worker.id)
    assert sorted(held) == [(job.id, job.claim) for job in mine]
    store.jobs.delete(mine[1].id)
    store.jobs.delete(others[0].id)
    assert store.jobs.claimed_by(worker.connection, worker.id, cancelled=True) == [
        (mine[1].id, mine[1].claim)
    ]
