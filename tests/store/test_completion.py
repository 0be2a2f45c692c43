"""How runs end: success, retry, failure, cancellation; and that old claims count no more."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_recurring._store import ConsoleRow, Store, Tally
from flask_recurring._store.claim import Claimed
from flask_recurring._store.completion import Failure, Success
from flask_recurring._store.records import Accepted
from flask_recurring._store.transitions import Outcome
from flask_recurring.job import JobState
from tests.store.conftest import Hire
from tests.store.samples import fetch, new_job, row_count
from tests.store.worker import Worker, failure, success

NEAR = timedelta(seconds=2)


def line(job: Claimed, seq: int, text: str = "a line", progress: float | None = None) -> ConsoleRow:
    return ConsoleRow(job.id, job.claim, seq, time.monotonic(), text, None, None, progress)


def content(store: Store) -> dict[str, list[dict[str, Any]]]:
    """All that is in the database, but for the counts."""
    tables = store.database.tables
    kept = [tables.job, tables.attempt, tables.console, tables.recurring_job, tables.tick]
    with store.database.connect() as connection:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(
                    sa.select(table).order_by(*table.primary_key.columns)
                ).mappings()
            ]
            for table in kept
        }


# -- each end


def test_success(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    run = worker.claim_one()
    before = store.now()
    accepted = worker.complete([success(run, seconds=12.5, result='{"sum":[1,null,"ü"]}')])
    assert accepted == Accepted(1, set())
    done = fetch(store, job.id)
    assert (done.state, done.result) == (JobState.SUCCEEDED, {"sum": [1, None, "ü"]})
    assert (done.attempt, done.claim, done.server, done.error) == (1, 1, "worker", None)
    assert done.started_at is not None
    assert done.finished_at is not None
    assert abs(done.finished_at - before) < NEAR
    assert abs(done.finished_at - done.started_at - timedelta(seconds=12.5)) < timedelta(
        milliseconds=1
    )
    assert store.jobs.attempts(job.id) == []
    assert store.jobs.claimed_by(worker.connection, worker.id) == []


def test_results_with_and_without_a_value_in_one_batch(store: Store, worker: Worker) -> None:
    found = store.jobs.insert_many(new_job() for _ in range(4))
    results = [None, "0", '"\\u0000"', "null"]
    runs = worker.claim()
    worker.complete(
        [success(run, result=result) for run, result in zip(runs, results, strict=True)]
    )
    assert [fetch(store, id).result for id in found] == [None, 0, "\0", None]


def test_ends_come_in_any_order_and_of_a_job_that_came_twice_the_later_claim_counts(
    store: Store, worker: Worker
) -> None:
    found = store.jobs.insert_many(new_job() for _ in range(9))
    before = worker.claim()
    assert worker.release(*reversed(before)) == 9
    again = worker.claim()
    both = [*again[::-1], *before]
    assert worker.release(*both[3:6], *both[12:15]) == 3
    accepted = worker.complete(
        [success(run, seconds=run.id, result=str(run.id)) for run in both[::2] + both[1::2]][:12],
        [failure(run, seconds=run.id, message=f"{run.id} {run.claim}") for run in both],
    )
    assert accepted.successes + len(accepted.failures) == 6
    for id in found:
        job = fetch(store, id)
        if job.state is JobState.ENQUEUED:
            continue
        assert job.started_at is not None
        assert job.finished_at is not None
        assert round((job.finished_at - job.started_at).total_seconds(), 2) == id
        if job.state is JobState.SUCCEEDED:
            assert job.result == id
        else:
            [attempt] = store.jobs.attempts(id)
            assert (attempt.claim, attempt.message) == (2, f"{id} 2")
            assert job.error == f"ValueError: {id} 2"


def test_a_retry(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    run = worker.claim_one()
    accepted = worker.complete(
        failures=[failure(run, seconds=3, retry_in=45.5, message="first\nsecond")]
    )
    assert accepted == Accepted(0, {job.id})
    waits = fetch(store, job.id)
    assert (waits.state, waits.error) == (JobState.SCHEDULED, "ValueError: first")
    assert (waits.started_at, waits.finished_at, waits.attempt) == (None, None, 1)
    [attempt] = store.jobs.attempts(job.id)
    assert (attempt.outcome, attempt.attempt, attempt.claim) == ("Failed", 1, 1)
    assert attempt.message == "first\nsecond"
    assert attempt.retry_at == waits.run_at
    assert abs(waits.run_at - attempt.finished_at - timedelta(seconds=45.5)) < NEAR
    assert abs(attempt.finished_at - attempt.started_at - timedelta(seconds=3)) < timedelta(
        milliseconds=1
    )
    assert worker.claim() == []


def test_a_failure_for_good(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    assert worker.fail(worker.claim_one()) is True
    failed = fetch(store, job.id)
    assert (failed.state, failed.error) == (JobState.FAILED, "ValueError: no")
    assert failed.started_at is not None
    assert failed.finished_at is not None
    [attempt] = store.jobs.attempts(job.id)
    assert attempt.retry_at is None
    assert (attempt.started_at, attempt.finished_at) == (failed.started_at, failed.finished_at)


def test_a_cancelled_run(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    run = worker.claim_one()
    store.jobs.delete(job.id)
    worker.complete(failures=[failure(run, Outcome.CANCELLED)])
    gone = fetch(store, job.id)
    assert gone.state is JobState.DELETED
    assert gone.finished_at is not None
    assert [one.outcome for one in store.jobs.attempts(job.id)] == ["Cancelled"]


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.RELEASED])
def test_a_run_that_was_asked_to_stop_is_not_tried_again(
    store: Store, worker: Worker, outcome: Outcome
) -> None:
    job = store.jobs.insert(new_job())
    run = worker.claim_one()
    store.jobs.delete(job.id)
    retry_in = 0.0 if outcome is Outcome.FAILED else None
    worker.complete(failures=[failure(run, outcome, retry_in=retry_in)])
    gone = fetch(store, job.id)
    assert gone.state is JobState.DELETED
    assert gone.finished_at is not None
    [attempt] = store.jobs.attempts(job.id)
    assert (attempt.outcome, attempt.retry_at) == (outcome.value, None)
    assert worker.claim() == []


def test_a_run_that_a_stopping_server_cut_short(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    worker.fail(worker.claim_one(), retry_in=0)
    run = worker.claim_one()
    worker.complete(failures=[failure(run, Outcome.RELEASED, message="the server is stopping")])
    back = fetch(store, job.id)
    assert (back.state, back.attempt, back.claim) == (JobState.ENQUEUED, 1, 2)
    assert (back.started_at, back.finished_at) == (None, None)
    assert back.error == "ValueError: no"
    assert [one.outcome for one in store.jobs.attempts(job.id)] == ["Failed", "HandedBack"]
    again = worker.claim_one()
    assert (again.claim, again.attempt) == (3, 2)


def test_all_kinds_of_ends_in_one_batch(store: Store, worker: Worker) -> None:
    found = store.jobs.insert_many(new_job() for _ in range(6))
    runs = worker.claim()
    store.jobs.delete(found[4])
    accepted = worker.complete(
        [success(runs[0]), success(runs[1], result="1")],
        [
            failure(runs[2], retry_in=60),
            failure(runs[3]),
            failure(runs[4], Outcome.CANCELLED),
            failure(runs[5], Outcome.RELEASED),
        ],
        [line(run, 1) for run in runs],
        [Tally("work", 2, 1, 1, 1.0, 1.0)],
    )
    assert accepted == Accepted(2, set(found[2:]))
    assert [fetch(store, id).state for id in found] == [
        JobState.SUCCEEDED,
        JobState.SUCCEEDED,
        JobState.SCHEDULED,
        JobState.FAILED,
        JobState.DELETED,
        JobState.ENQUEUED,
    ]
    assert row_count(store, store.database.tables.attempt) == 4
    assert row_count(store, store.database.tables.console) == 6


def test_a_large_batch(store: Store, worker: Worker) -> None:
    found = store.jobs.insert_many(new_job() for _ in range(1_000))
    runs = worker.claim(1_000)
    good, bad = runs[::2], runs[1::2]
    accepted = worker.complete([success(run) for run in good], [failure(run) for run in bad])
    assert accepted == Accepted(500, {run.id for run in bad})
    assert len(store.jobs.page(JobState.SUCCEEDED, limit=1_000).items) == 500
    assert row_count(store, store.database.tables.attempt) == 500
    assert len(found) == 1_000


def test_nothing_to_settle(store: Store, worker: Worker) -> None:
    assert worker.complete() == Accepted(0, set())


def test_the_times_of_a_batch_agree_with_each_other(store: Store, worker: Worker) -> None:
    good, bad = store.jobs.insert_many(new_job() for _ in range(2))
    runs = worker.claim()
    moment = time.monotonic()
    began, ended = moment - 20, moment - 10
    first, second = success(runs[0]), failure(runs[1])
    many = [
        ConsoleRow(runs[0].id, 1, seq, ended, "x" * 200, None, None, None)
        for seq in range(1, 5_000)
    ]
    worker.complete(
        [first._replace(started=began, finished=ended)],
        [second._replace(started=began, finished=ended)],
        many,
    )
    [one] = store.console.lines(runs[0].id, 1, limit=1)
    done, failed = fetch(store, good), fetch(store, bad)
    assert done.finished_at is not None
    assert failed.finished_at is not None
    tolerance = timedelta(milliseconds=2)
    assert abs(one.at - done.finished_at) <= tolerance
    assert abs(failed.finished_at - done.finished_at) <= tolerance


# -- fencing


def ends(job: Claimed) -> list[tuple[list[Success], list[Failure]]]:
    """Every way in which a run can be said to have ended."""
    return [
        ([success(job)], []),
        ([success(job, result="1")], []),
        ([], [failure(job)]),
        ([], [failure(job, retry_in=5)]),
        ([], [failure(job, Outcome.CANCELLED)]),
        ([], [failure(job, Outcome.RELEASED)]),
    ]


def test_the_end_of_an_old_claim_is_refused(store: Store, worker: Worker, hire: Hire) -> None:
    job = store.jobs.insert(new_job())
    old = worker.claim_one()
    store.servers.rescue(worker.connection, [worker.id])
    other = hire(name="other")
    for state in ("waiting", "running", "done"):
        if state == "running":
            new = other.claim_one()
            assert (new.claim, new.attempt) == (2, 2)
        elif state == "done":
            assert other.succeed(new) == 1
        before = content(store)
        for successes, failures in ends(old):
            assert worker.complete(successes, failures) == Accepted(0, set()), state
            assert content(store) == before
        assert worker.release(old) == 0
    done = fetch(store, job.id)
    assert (done.state, done.server, done.claim) == (JobState.SUCCEEDED, "other", 2)


def test_a_claim_that_was_never_made_is_refused(store: Store, worker: Worker) -> None:
    store.jobs.insert(new_job())
    run = worker.claim_one()
    before = content(store)
    for wrong in (run._replace(claim=0), run._replace(claim=2), run._replace(id=run.id + 1)):
        for successes, failures in ends(wrong):
            assert worker.complete(successes, failures) == Accepted(0, set())
    assert content(store) == before


def test_the_new_ends_of_a_batch_stand_although_old_ones_are_refused(
    store: Store, worker: Worker
) -> None:
    found = store.jobs.insert_many(new_job() for _ in range(4))
    runs = worker.claim()
    worker.release(runs[0], runs[2])
    accepted = worker.complete(
        [success(runs[0]), success(runs[1])], [failure(runs[2]), failure(runs[3])]
    )
    assert accepted == Accepted(1, {found[3]})
    states = [fetch(store, id).state for id in found]
    assert states == [JobState.ENQUEUED, JobState.SUCCEEDED, JobState.ENQUEUED, JobState.FAILED]
    assert row_count(store, store.database.tables.attempt) == 1


# -- repeating


def test_repeating_a_batch_changes_nothing(store: Store, worker: Worker) -> None:
    """As after a commit whose reply was cut off."""
    found = store.jobs.insert_many(new_job() for _ in range(6))
    runs = worker.claim()
    store.jobs.delete(found[4])
    successes = [success(runs[0], seconds=1), success(runs[1], result="[1]")]
    failures = [
        failure(runs[2], retry_in=60),
        failure(runs[3]),
        failure(runs[4], Outcome.CANCELLED),
        failure(runs[5], Outcome.RELEASED),
    ]
    entries = [line(run, seq) for run in runs for seq in (1, 2)]
    entries += [line(runs[0], 3, "bar", progress=70.0)]
    worker.complete(successes, failures, entries)
    before = content(store)
    assert worker.complete(successes, failures, entries) == Accepted(0, set())
    assert content(store) == before
    # And once a job of them runs again.
    again = worker.claim_one()
    assert again.id == found[5]
    before = content(store)
    assert worker.complete(successes, failures, entries) == Accepted(0, set())
    assert content(store) == before


def test_the_first_word_about_a_run_stands(store: Store, worker: Worker) -> None:
    """As when a stopping server gives back a run that comes to its end at the same moment."""
    found = store.jobs.insert_many(new_job() for _ in range(3))
    runs = worker.claim()
    accepted = worker.complete(
        [success(runs[0]), success(runs[0]), success(runs[2])],
        [
            failure(runs[0], Outcome.RELEASED),
            failure(runs[1], Outcome.RELEASED),
            failure(runs[1], message="it failed"),
        ],
    )
    assert accepted == Accepted(2, {found[1]})
    states = [fetch(store, id).state for id in found]
    assert states == [JobState.SUCCEEDED, JobState.ENQUEUED, JobState.SUCCEEDED]
    assert [one.outcome for one in store.jobs.attempts(found[1])] == ["HandedBack"]
    assert fetch(store, found[1]).attempt == 0


# -- all or nothing


def test_a_batch_is_written_as_a_whole_or_not_at_all(store: Store, worker: Worker) -> None:
    store.jobs.insert_many(new_job() for _ in range(2))
    runs = worker.claim()
    before = content(store)
    broken: Any = Tally(None, 1, 0, 0, 0.0, 0.0)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"(?i)null"):
        worker.complete([success(runs[0])], [failure(runs[1])], [line(runs[0], 1)], [broken])
    assert content(store) == before
    # The connection is as good as before.
    assert worker.complete([success(runs[0])], [failure(runs[1])]).successes == 1


def test_whoever_sees_the_end_of_a_job_sees_all_that_it_wrote(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    run = worker.claim_one()
    count = 3_000
    worker.complete([success(run)], (), [line(run, seq) for seq in range(1, count + 1)])
    assert fetch(store, job.id).state is JobState.SUCCEEDED
    assert len(store.console.lines(job.id, run.claim, limit=10_000)) == count


# -- hostile text


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_text_of_any_kind(store: Store, worker: Worker, size: int) -> None:
    text = ("ü\\\"'{},NULL$1%s%(x)s:p\r\n\t" * size)[:size]
    job = store.jobs.insert(new_job())
    run = worker.claim_one()
    end = failure(run, message=text)._replace(traceback=text, error_type=text[:50])
    worker.complete((), [end], [line(run, 1, text)])
    [attempt] = store.jobs.attempts(job.id)
    assert (attempt.message, attempt.traceback) == (text, text)
    assert attempt.error_type == text[:50]
    [one] = store.console.lines(job.id, run.claim)
    assert one.text == text
