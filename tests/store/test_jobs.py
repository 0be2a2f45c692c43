"""Jobs: writing, reading, requeuing and deleting them. Their purge is in ``test_purge``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, timedelta, timezone
from typing import Any, cast

import pytest
import sqlalchemy as sa

from flask_recurring._store import NewJob, Notification, Store, Topic
from flask_recurring._store.types import now
from flask_recurring.job import JobState
from tests.store.conftest import Hire, OpenStore
from tests.store.race import race
from tests.store.samples import (
    MOMENT,
    change,
    fetch,
    new_job,
    postgresql_only,
    row_count,
    waiting_backends,
)
from tests.store.worker import Worker, success
from tests.waiting import wait_for

TOO_LARGE = 2**63


# -- one job


def test_returns_the_job_as_it_reads_back(store: Store) -> None:
    new = new_job(
        arguments='[[1,"ä"],{"to":[null,2.5]}]',
        queue="mail",
        priority=-7,
        recurring_id="nightly",
        due=MOMENT,
        key="once",
        options='{"timeout":3}',
    )
    written = store.jobs.insert(new)
    assert written == store.jobs.get(written.id)
    assert written.args == (1, "ä")
    assert written.kwargs == {"to": [None, 2.5]}
    assert (written.queue, written.priority, written.due) == ("mail", -7, MOMENT)
    assert (written.attempt, written.claim, written.server, written.error) == (0, 0, None, None)
    assert written.run_at == written.created_at


def test_a_new_job_is_enqueued_from_its_first_moment_on(store: Store) -> None:
    for _ in range(100):
        job = store.jobs.insert(new_job())
        assert job.state is JobState.ENQUEUED
        assert fetch(store, job.id).state is JobState.ENQUEUED
    assert store.jobs.counts()[JobState.SCHEDULED].value == 0


def test_delay_counts_from_the_databases_now(store: Store) -> None:
    before = store.now()
    job = store.jobs.insert(new_job(delay=90.5))
    assert before <= job.created_at <= store.now()
    assert job.run_at - job.created_at == timedelta(seconds=90.5)
    assert job.state is JobState.SCHEDULED
    assert fetch(store, job.id) == job


def test_run_at_is_a_moment_in_whatever_zone_it_is_given(store: Store) -> None:
    ahead = (store.now() + timedelta(days=3)).astimezone(timezone(timedelta(hours=-9, minutes=-30)))
    job = store.jobs.insert(new_job(run_at=ahead))
    assert job.run_at == ahead
    assert job.run_at.tzinfo is UTC
    assert job.state is JobState.SCHEDULED
    assert fetch(store, job.id) == job
    past = store.jobs.insert(new_job(run_at=MOMENT))
    assert past.state is JobState.ENQUEUED
    assert fetch(store, past.id).run_at == MOMENT


def test_the_clock_that_enqueues_and_the_one_that_reads_are_the_same(store: Store) -> None:
    job = store.database.tables.job.c
    ahead = sa.select(sa.func.count()).where(job.run_at > now())
    with store.database.connect() as connection, store.database.driver.transaction(connection):
        for _ in range(50):
            store.database.driver.insert(connection, new_job(), None)
            assert connection.execute(ahead).scalar_one() == 0


def test_a_scheduled_job_is_enqueued_once_its_time_has_come(store: Store) -> None:
    job = store.jobs.insert(new_job(delay=3600))
    change(store, store.database.tables.job, run_at=MOMENT)
    assert fetch(store, job.id).state is JobState.ENQUEUED


def test_no_job_has_such_an_id(store: Store) -> None:
    store.jobs.insert(new_job())
    for job_id in (0, -1, 4711, TOO_LARGE - 1, TOO_LARGE, -TOO_LARGE, 10**40):
        assert store.jobs.get(job_id) is None
        assert store.jobs.requeue(job_id) is False
        assert store.jobs.delete(job_id) is False
        assert store.jobs.attempts(job_id) == []


def test_tells_the_lane_of_a_job_that_may_run_now(store: Store) -> None:
    told: list[Notification] = []
    store.subscribe(told.append)
    store.jobs.insert(new_job(queue="mail", priority=3))
    store.jobs.insert(new_job(due=MOMENT, recurring_id="nightly"))
    store.jobs.insert(new_job(run_at=MOMENT, queue="late"))
    store.jobs.insert(new_job(delay=0.5, queue="soon"))
    store.jobs.insert(new_job(delay=60))
    store.jobs.insert(new_job(run_at=store.now() + timedelta(hours=1)))
    assert told == [
        Notification(Topic.JOB, "mail", 3),
        Notification(Topic.TICK, "default"),
        Notification(Topic.JOB, "late"),
        Notification(Topic.LATER, "soon"),
    ]
    store.unsubscribe(told.append)
    store.jobs.insert(new_job())
    assert len(told) == 4


# -- keys


def test_the_same_key_gives_the_same_job(store: Store, worker: Worker) -> None:
    first = store.jobs.insert(new_job(key="invoice-1"))
    again = store.jobs.insert(new_job(key="invoice-1", queue="other", delay=60))
    assert again == first
    assert (first.new, again.new, fetch(store, first.id).new) == (True, False, False)
    assert store.jobs.insert(new_job(key="invoice-2")).id != first.id
    run, _ = worker.claim()
    assert store.jobs.insert(new_job(key="invoice-1")).state is JobState.PROCESSING
    worker.fail(run, retry_in=60)
    assert store.jobs.insert(new_job(key="invoice-1")).id == first.id
    assert row_count(store, store.database.tables.job) == 2


def interrupted(
    connection: sa.Connection, between: Callable[[sa.Executable], None]
) -> sa.Connection:
    """The connection, with something that happens after each of its statements."""

    class Interrupted:
        def execute(self, statement: sa.Executable) -> sa.CursorResult[Any]:
            result = connection.execute(statement)
            between(statement)
            return result

        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

    return cast("sa.Connection", Interrupted())


class Ways:
    """The ways in which a job is written: each answers its id, and whether it is a new one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def one(self, new: NewJob) -> tuple[int, bool]:
        job = self._store.jobs.insert(new)
        return job.id, job.new

    def within(self, new: NewJob) -> tuple[int, bool]:
        with self._store.database.begin() as connection:
            job = self._store.jobs.write(connection, new)
        return job.id, job.new

    def many(self, new: NewJob) -> tuple[int, bool]:
        count = row_count(self._store, self._store.database.tables.job)
        [id] = self._store.jobs.insert_many([new])
        return id, row_count(self._store, self._store.database.tables.job) > count


@pytest.fixture(params=["one", "within", "many"])
def write(request: pytest.FixtureRequest, store: Store) -> Callable[[NewJob], tuple[int, bool]]:
    """One of the ways."""
    way: Callable[[NewJob], tuple[int, bool]] = getattr(Ways(store), request.param)
    return way


@pytest.mark.parametrize("end", ["succeeded", "failed", "deleted"])
def test_a_finished_job_gives_its_key_up(
    store: Store, worker: Worker, write: Callable[[NewJob], tuple[int, bool]], end: str
) -> None:
    first, _ = write(new_job(key="k"))
    run = worker.claim_one()
    if end == "deleted":
        store.jobs.delete(first)
        worker.fail(run)
    elif end == "failed":
        worker.fail(run)
    else:
        worker.succeed(run)
    state = fetch(store, first).state
    assert write(new_job(key="k", key_kept=True)) == (first, False), "it is content with that one"
    second, new = write(new_job(key="k"))
    assert (second != first, new) == (True, True)
    assert fetch(store, first).state is state
    assert write(new_job(key="k")) == (second, False)
    # Run again, the first has a name no more, and takes none from the second.
    assert store.jobs.requeue(first)
    assert len(worker.claim()) == 2
    assert write(new_job(key="k")) == (second, False)


def test_a_key_that_was_taken_in_a_transaction_goes_back_with_it(
    store: Store, worker: Worker, engine: sa.Engine
) -> None:
    first = store.jobs.insert(new_job(key="k"))
    worker.succeed(worker.claim_one())
    with engine.connect() as connection:
        second = store.jobs.write(connection, new_job(key="k"))
        assert second.new
        connection.rollback()
    assert store.jobs.insert(new_job(key="k", key_kept=True)).id == first.id


def test_a_list_is_content_with_a_finished_job_if_one_of_it_is(
    store: Store, worker: Worker
) -> None:
    kept, given = (store.jobs.insert(new_job(key=key)).id for key in ("kept", "given"))
    worker.succeed(*worker.claim())
    ids = store.jobs.insert_many(
        [new_job(key="given"), new_job(key="kept"), new_job(key="kept", key_kept=True)]
    )
    assert ids[1:] == [kept, kept]
    assert ids[0] > given


def test_a_job_that_is_requeued_while_its_key_is_wanted_keeps_it(
    store: Store, worker: Worker, engine: sa.Engine, open_store: OpenStore
) -> None:
    first = store.jobs.insert(new_job(key="k"))
    worker.succeed(worker.claim_one())
    other = open_store()
    with engine.connect() as connection:

        def requeue(statement: sa.Executable) -> None:
            if isinstance(statement, sa.Select):
                connection.commit()
                other.jobs.requeue(first.id)

        found = store.jobs.write(interrupted(connection, requeue), new_job(key="k"))
        connection.commit()
    assert (found.id, found.new, found.state) == (first.id, False, JobState.ENQUEUED)


def test_many_that_race_for_the_key_of_a_finished_job_write_one(
    store: Store, worker: Worker, open_store: OpenStore
) -> None:
    stores = [open_store() for _ in range(6)]
    made: list[int] = []
    for round in range(10):
        old = store.jobs.insert(new_job(key="k")).id
        worker.succeed(worker.claim_one())

        def insert(number: int) -> tuple[int, bool]:
            ways = Ways(stores[number])
            # Who counts rows to know what is new would count those of the others.
            return (ways.within if number % 2 else ways.one)(new_job(key="k"))

        answers = race(len(stores), insert)
        [id] = {id for id, _ in answers}
        assert id > old
        assert sum(new for _, new in answers) == 1, round
        made.append(id)
        worker.succeed(worker.claim_one())
    assert len(set(made)) == 10


def test_lists_that_race_for_the_keys_of_finished_jobs_do_not_block_each_other(
    store: Store, worker: Worker, open_store: OpenStore
) -> None:
    stores = [open_store() for _ in range(2)]
    keys = [f"key-{number}" for number in range(200)]
    old = store.jobs.insert_many(new_job(key=key) for key in keys)
    worker.succeed(*worker.claim(200))

    def insert(number: int) -> dict[str, int]:
        mine = keys if number % 2 else keys[::-1]
        ids = stores[number].jobs.insert_many(new_job(key=key) for key in mine)
        return dict(zip(mine, ids, strict=True))

    first, second = race(2, insert)
    assert first == second
    assert not set(old) & set(first.values())
    assert row_count(store, store.database.tables.job) == 2 * len(keys)


def test_a_key_is_free_again_after_its_job_is_purged(store: Store) -> None:
    first = store.jobs.insert(new_job(key="k"))
    store.jobs.delete(first.id)
    change(store, store.database.tables.job, finished_at=MOMENT)
    assert store.jobs.purge(timedelta(days=1), [JobState.DELETED]) == 1
    assert store.jobs.insert(new_job(key="k")).id > first.id


def test_ids_are_never_given_twice(store: Store) -> None:
    first = store.jobs.insert(new_job())
    with store.database.begin() as connection:
        connection.execute(sa.delete(store.database.tables.job))
    assert store.jobs.insert(new_job()).id > first.id


def test_many_that_race_for_one_key_write_one_job(store: Store, open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(6)]
    for round in range(10):
        key = f"key-{round}"

        def insert(number: int, key: str = key) -> int:
            if number % 3 == 0:
                return stores[number].jobs.insert_many([new_job(key=key)])[0]
            if number % 3 == 1:
                with stores[number].database.begin() as connection:
                    return stores[number].jobs.write(connection, new_job(key=key)).id
            return stores[number].jobs.insert(new_job(key=key)).id

        assert len(set(race(len(stores), insert))) == 1
    assert row_count(store, store.database.tables.job) == 10


def test_lists_with_the_same_keys_in_any_order_do_not_block_each_other(
    store: Store, open_store: OpenStore
) -> None:
    stores = [open_store() for _ in range(2)]
    keys = [f"key-{number}" for number in range(200)]

    def insert(number: int) -> dict[str, int]:
        mine = keys if number % 2 else keys[::-1]
        ids = stores[number].jobs.insert_many(new_job(key=key) for key in mine)
        return dict(zip(mine, ids, strict=True))

    first, second = race(2, insert)
    assert first == second
    assert row_count(store, store.database.tables.job) == len(keys)


@postgresql_only
@pytest.mark.parametrize("commits", [True, False])
def test_a_key_waits_for_the_transaction_that_may_take_it(
    store: Store, engine: sa.Engine, open_store: OpenStore, commits: bool
) -> None:
    other = open_store()
    with engine.connect() as connection:
        first = other.jobs.write(connection, new_job(key="k"))

        def second(number: int) -> int:
            if number == 1:
                return store.jobs.insert(new_job(key="k")).id
            wait_for(lambda: waiting_backends(other) == 1)
            connection.commit() if commits else connection.rollback()
            return 0

        found = race(2, second)[1]
    assert (found == first.id) is commits
    assert row_count(store, store.database.tables.job) == 1


# -- many jobs


def test_ids_come_in_the_order_of_the_list(store: Store) -> None:
    count = 12_000
    ids = store.jobs.insert_many(
        new_job(arguments=f"[[{number}],{{}}]", queue=f"q{number % 3}") for number in range(count)
    )
    assert ids == sorted(set(ids))
    assert len(ids) == count
    job = store.database.tables.job.c
    with store.database.connect() as connection:
        rows = connection.execute(sa.select(job.id, job.arguments).order_by(job.id)).all()
    assert [tuple(row) for row in rows] == [
        (id, f"[[{number}],{{}}]") for number, id in enumerate(ids)
    ]


def test_many_jobs_read_back_like_one(store: Store) -> None:
    news = [
        new_job(arguments='[[1],{"a":"ü\\u0000"}]', queue="mail", priority=5, options='{"x":1}'),
        new_job(run_at=MOMENT, recurring_id="r", due=MOMENT),
        new_job(delay=77.25),
    ]
    many = [fetch(store, id) for id in store.jobs.insert_many(news)]
    single = [store.jobs.insert(new) for new in news]
    for one, other in zip(many, single, strict=True):
        moved = one.created_at - other.created_at
        run_at = other.run_at if other.run_at == MOMENT else other.run_at + moved
        assert one == replace(other, id=one.id, created_at=one.created_at, run_at=run_at)
        assert one.state is other.state


def test_many_jobs_with_keys(store: Store) -> None:
    old = store.jobs.insert(new_job(key="b"))
    ids = store.jobs.insert_many(
        [new_job(key="a"), new_job(key="b"), new_job(), new_job(key="a"), new_job(key="c")]
    )
    assert ids[1] == old.id
    assert ids[3] == ids[0]
    assert row_count(store, store.database.tables.job) == 4
    assert [fetch(store, id).id for id in ids] == ids


def test_a_list_that_breaks_off_writes_nothing(store: Store) -> None:
    told: list[Notification] = []
    store.subscribe(told.append)

    def broken() -> Iterator[NewJob]:
        for _ in range(7_500):
            yield new_job()
        raise RuntimeError("the source broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        store.jobs.insert_many(broken())
    assert row_count(store, store.database.tables.job) == 0
    assert told == []
    store.jobs.insert(new_job())  # nothing is left locked


def test_a_list_with_a_job_that_is_refused_writes_nothing(store: Store) -> None:
    refused = new_job(task=None)
    for news in ([new_job(), refused], [new_job(key="k"), new_job(task=None, key="l")]):
        with pytest.raises(sa.exc.SQLAlchemyError):
            store.jobs.insert_many(news)
        assert row_count(store, store.database.tables.job) == 0
    with pytest.raises(sa.exc.SQLAlchemyError):
        store.jobs.insert(refused)
    store.jobs.insert(new_job())


def test_tells_each_lane_of_many_jobs_once(store: Store) -> None:
    told: list[Notification] = []
    store.subscribe(told.append)
    assert store.jobs.insert_many([]) == []
    assert told == []
    store.jobs.insert_many(new_job(queue="ab"[number % 2]) for number in range(50))
    store.jobs.insert_many([new_job(delay=60)])
    assert set(told) == {Notification(Topic.JOB, "a"), Notification(Topic.JOB, "b")}
    assert len(told) == 2


# -- in somebody else's transaction


def test_a_job_exists_if_the_transaction_commits(
    store: Store, engine: sa.Engine, open_store: OpenStore
) -> None:
    other = open_store()
    told: list[Notification] = []
    store.subscribe(told.append)
    news = [new_job(key="k"), new_job(delay=5, queue="mail"), new_job(key="k")]
    with engine.connect() as connection:
        written = [store.jobs.write(connection, new) for new in news]
        assert [other.jobs.get(job.id) for job in written] == [None] * 3
        assert told == []
        connection.commit()
    assert told == [], "the session that committed says so itself"
    assert [fetch(other, job.id) for job in written] == written
    assert written[0] == written[2]
    assert [job.state for job in written[:2]] == [JobState.ENQUEUED, JobState.SCHEDULED]


def test_a_job_never_was_if_the_transaction_is_rolled_back(store: Store, engine: sa.Engine) -> None:
    with engine.connect() as connection:
        job = store.jobs.write(connection, new_job(key="k"))
        connection.rollback()
    assert store.jobs.get(job.id) is None
    assert row_count(store, store.database.tables.job) == 0
    # Its key is as free as if it had never been; in SQLite even the id is.
    assert store.jobs.insert(new_job(key="k")).state is JobState.ENQUEUED


def test_a_key_finds_a_job_of_the_same_transaction_and_of_others(
    store: Store, engine: sa.Engine
) -> None:
    there = store.jobs.insert(new_job(key="there", queue="mail"))
    with engine.begin() as connection:
        found, new, again = (
            store.jobs.write(connection, new_job(key=key)) for key in ("there", "new", "new")
        )
    assert found == there
    assert again == new


@postgresql_only
def test_a_key_that_is_freed_while_it_is_looked_up(
    store: Store, engine: sa.Engine, open_store: OpenStore
) -> None:
    there = store.jobs.insert(new_job(key="k"))
    other = open_store()

    def free(number: int) -> None:
        with other.database.begin() as connection:
            job = other.database.tables.job
            connection.execute(sa.delete(job).where(job.c.id == number))

    with engine.begin() as connection:

        def free_it(statement: sa.Executable) -> None:
            if isinstance(statement, sa.Insert):
                free(there.id)

        job = store.jobs.write(interrupted(connection, free_it), new_job(key="k"))
    assert job.id > there.id
    assert fetch(store, job.id) == job


# -- requeue


def test_a_job_that_is_done_runs_again_from_the_start(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job(delay=0))
    run = worker.claim_one()
    worker.fail(run, retry_in=0)
    run = worker.claim_one()
    worker.fail(run)
    failed = fetch(store, job.id)
    assert (failed.state, failed.attempt, failed.error) == (JobState.FAILED, 2, "ValueError: no")
    assert store.jobs.requeue(job.id) is True
    again = fetch(store, job.id)
    assert (again.state, again.attempt, again.claim) == (JobState.ENQUEUED, 0, 2)
    assert (again.started_at, again.finished_at, again.result) == (None, None, None)
    assert again.run_at >= again.created_at
    run = worker.claim_one()
    assert (run.attempt, run.claim) == (1, 3)


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED])
def test_requeues_from_every_end(store: Store, worker: Worker, state: JobState) -> None:
    job = finished(store, worker, state)
    assert fetch(store, job).state is state
    assert store.jobs.requeue(job) is True
    assert fetch(store, job).state is JobState.ENQUEUED
    assert worker.claim_one().id == job


def finished(store: Store, worker: Worker, state: JobState) -> int:
    """The id of a job that has come to this end."""
    job = store.jobs.insert(new_job())
    if state is JobState.SUCCEEDED:
        worker.complete([success(worker.claim_one(), result='{"a":1}')])
    elif state is JobState.FAILED:
        worker.fail(worker.claim_one())
    else:
        store.jobs.delete(job.id)
    return job.id


def test_a_scheduled_job_can_be_run_now(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job(delay=3600))
    assert worker.claim() == []
    assert store.jobs.requeue(job.id) is True
    assert worker.claim_one().id == job.id


def test_a_job_that_waits_or_runs_is_not_requeued(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    assert store.jobs.requeue(job.id) is False
    run = worker.claim_one()
    assert store.jobs.requeue(job.id) is False
    assert worker.succeed(run) == 1


def test_a_requeued_job_is_told_of(store: Store, worker: Worker) -> None:
    job = finished(store, worker, JobState.FAILED)
    told: list[Notification] = []
    store.subscribe(told.append)
    store.jobs.requeue(job)
    assert told == [Notification(Topic.JOB, "default")]


# -- delete


def test_a_waiting_job_is_deleted_at_once(store: Store, worker: Worker) -> None:
    enqueued, scheduled = store.jobs.insert(new_job()), store.jobs.insert(new_job(delay=60))
    for job in (enqueued, scheduled):
        assert store.jobs.delete(job.id) is True
        gone = fetch(store, job.id)
        assert gone.state is JobState.DELETED
        assert gone.finished_at is not None
        assert not gone.cancel_requested
        assert store.jobs.delete(job.id) is False
    assert worker.claim() == []


def test_a_running_job_is_asked_to_stop(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    run = worker.claim_one()
    told: list[Notification] = []
    store.subscribe(told.append)
    assert store.jobs.delete(job.id) is True
    asked = fetch(store, job.id)
    assert (asked.state, asked.cancel_requested) == (JobState.PROCESSING, True)
    assert asked.finished_at is None
    assert told == [Notification(Topic.CANCEL)]
    assert store.jobs.delete(job.id) is False
    assert store.jobs.claimed_by(worker.connection, worker.id, cancelled=True) == [run[:2]]


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED])
def test_a_job_that_is_done_can_be_deleted(store: Store, worker: Worker, state: JobState) -> None:
    job = finished(store, worker, state)
    assert store.jobs.delete(job) is True
    assert fetch(store, job).state is JobState.DELETED


def test_a_job_that_succeeded_although_asked_to_stop_can_be_deleted_and_requeued(
    store: Store, worker: Worker
) -> None:
    job = store.jobs.insert(new_job())
    run = worker.claim_one()
    store.jobs.delete(job.id)
    assert worker.succeed(run) == 1
    assert fetch(store, job.id).state is JobState.SUCCEEDED
    assert store.jobs.delete(job.id) is True
    assert fetch(store, job.id).state is JobState.DELETED
    assert store.jobs.requeue(job.id) is True
    assert not fetch(store, job.id).cancel_requested
    worker.succeed(worker.claim_one())
    assert fetch(store, job.id).state is JobState.SUCCEEDED


def test_deleting_and_claiming_at_the_same_time_loses_nothing(
    store: Store, open_store: OpenStore, hire: Hire
) -> None:
    ids = store.jobs.insert_many(new_job() for _ in range(200))
    other = open_store()
    worker = hire()

    def run(number: int) -> list[int]:
        if number == 0:
            return [id for id in reversed(ids) if other.jobs.delete(id)]
        claimed: list[int] = []
        while jobs := worker.claim(7):
            claimed += [job.id for job in jobs]
        return claimed

    deleted, claimed = race(2, run)
    assert sorted(deleted) == ids
    for id in ids:
        job = fetch(store, id)
        if id in claimed:
            assert (job.state, job.cancel_requested) == (JobState.PROCESSING, True)
        else:
            assert (job.state, job.cancel_requested) == (JobState.DELETED, False)


# -- attempts


def test_attempts_are_the_runs_that_did_not_succeed(store: Store, worker: Worker) -> None:
    job = store.jobs.insert(new_job())
    assert store.jobs.attempts(job.id) == []
    worker.fail(worker.claim_one(), retry_in=0)
    worker.fail(worker.claim_one(), retry_in=0)
    worker.succeed(worker.claim_one())
    attempts = store.jobs.attempts(job.id)
    assert [(one.claim, one.attempt, one.outcome) for one in attempts] == [
        (1, 1, "Failed"),
        (2, 2, "Failed"),
    ]
    assert attempts[0].server == "worker"
    assert (attempts[0].error_type, attempts[0].message) == ("ValueError", "no")
    assert attempts[0].traceback == "Traceback …"
    assert attempts[0].retry_at is not None
