"""A tick that comes while a run of the same recurring job is still going."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_recurring._server import promoter
from flask_recurring._server.overlap import GOING, REPLACED, RETRYING, WAITING
from flask_recurring._store import Notification, Topic
from flask_recurring._store.claim import Claimed
from flask_recurring.job import JobState
from tests.store.conftest import OpenStore
from tests.store.race import race
from tests.time.fleet import Fleet

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def minute(number: int) -> datetime:
    return NOON + number * MINUTE


def policy(overlap: str, **values: object) -> dict[str, Any]:
    return {"overlap": overlap, **values}


def start_first(fleet: Fleet, overlap: str, **values: object) -> Claimed:
    """Declare a recurring job, and let its first run be going when the second minute begins."""
    fleet.declare(**policy(overlap, **values))
    fleet.tick(minute(1))
    return fleet.worker.claim_one()


def states(fleet: Fleet) -> list[str]:
    return [job.state.value for job in fleet.jobs()]


def outcomes(fleet: Fleet) -> list[str]:
    return [tick.outcome for tick in fleet.history()]


# -- allow


def test_allow_runs_beside_it(fleet: Fleet) -> None:
    start_first(fleet, "allow")
    fleet.tick(minute(2))
    assert states(fleet) == ["Processing", "Enqueued"]
    assert fleet.worker.claim_one().due == minute(2)


# -- skip


def test_skip_gives_the_tick_no_run(fleet: Fleet) -> None:
    run = start_first(fleet, "skip")
    fleet.tick(minute(2))
    assert states(fleet) == ["Processing"]
    skipped = fleet.history()[-1]
    assert (skipped.due, skipped.outcome, skipped.job_id) == (minute(2), "skipped", None)
    assert skipped.reason == f"{GOING} (job {run.id})"
    assert fleet.job().next_at == minute(3)
    assert (fleet.job().last_due, fleet.job().last_job_id) == (minute(1), run.id)
    fleet.worker.succeed(run)
    fleet.tick(minute(3))
    assert outcomes(fleet) == ["run", "skipped", "run"]


def test_skip_heeds_a_run_that_waits_for_a_worker(fleet: Fleet) -> None:
    fleet.declare(**policy("skip"))
    fleet.tick(minute(1))
    fleet.tick(minute(2))
    assert outcomes(fleet) == ["run", "skipped"]


def test_skip_heeds_a_run_that_waits_for_the_start_that_jitter_gave_it(fleet: Fleet) -> None:
    fleet.declare(**policy("skip", jitter=timedelta(hours=5)))
    fleet.tick(minute(1))
    assert states(fleet) == ["Scheduled"]
    fleet.tick(minute(2))
    assert outcomes(fleet) == ["run", "skipped"]


def test_skip_heeds_a_run_that_waits_for_its_retry(fleet: Fleet) -> None:
    run = start_first(fleet, "skip")
    fleet.worker.fail(run, retry_in=90)
    fleet.tick(minute(2))
    assert outcomes(fleet) == ["run", "skipped"]
    assert fleet.history()[-1].reason == f"{RETRYING} (job {run.id})"
    fleet.tick(minute(3))
    assert fleet.history()[-1].reason == f"{GOING} (job {run.id})", "its retry is due"
    fleet.worker.fail(fleet.worker.claim_one())
    assert states(fleet) == ["Failed"]
    fleet.tick(minute(4))
    assert outcomes(fleet) == ["run", "skipped", "skipped", "run"]


def test_skip_heeds_a_run_that_awaits(fleet: Fleet) -> None:
    run = start_first(fleet, "queue")
    fleet.tick(minute(2))
    fleet.declare(**policy("skip"))
    fleet.worker.succeed(run)
    fleet.tick(minute(3))
    assert states(fleet) == ["Succeeded", "Awaiting"]
    assert fleet.history()[-1].reason == f"{WAITING} (job {fleet.jobs()[-1].id})"


def test_skip_does_not_heed_other_jobs(fleet: Fleet) -> None:
    fleet.declare("job", **policy("skip"))
    fleet.declare("other", **policy("skip"))
    fleet.tick(minute(1))
    run, other = fleet.worker.claim()
    fleet.worker.succeed(run if run.recurring_id == "job" else other)
    fleet.tick(minute(2))
    assert [tick.outcome for tick in fleet.history("other")] == ["run", "skipped"]
    assert outcomes(fleet) == ["run", "run"]


@pytest.mark.parametrize("overlap", ["allow", "cancel"])
def test_a_run_by_hand_comes_at_once(fleet: Fleet, overlap: str) -> None:
    start_first(fleet, overlap)
    assert fleet.store.recurring.trigger("job", "Ann").state is JobState.ENQUEUED
    assert states(fleet) == ["Processing", "Enqueued"]
    assert fleet.worker.claim_one().due is None


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_run_by_hand_waits_where_runs_are_kept_apart(fleet: Fleet, overlap: str) -> None:
    run = start_first(fleet, overlap)
    notified: list[Notification] = []
    fleet.store.subscribe(notified.append)
    first, second = (fleet.store.recurring.trigger("job", "Ann") for _ in range(2))
    assert first == fleet.jobs()[1]
    assert states(fleet) == ["Processing", "Awaiting", "Awaiting"]
    assert notified == []
    fleet.tick(minute(2))
    assert outcomes(fleet)[-1] == "skipped", "one more would be going then"
    fleet.worker.succeed(run)
    fleet.promote()
    run = fleet.worker.claim_one()
    assert run.id == first.id
    fleet.promote()
    assert states(fleet) == ["Succeeded", "Processing", "Awaiting"]
    fleet.worker.fail(run)
    fleet.promote()
    assert fleet.worker.claim_one().id == second.id
    fleet.tick(minute(3))
    assert states(fleet)[3:] == {"skip": [], "queue": ["Awaiting"]}[overlap], "it is going too"


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_run_by_hand_comes_at_once_if_none_is_going(fleet: Fleet, overlap: str) -> None:
    fleet.declare(**policy(overlap))
    assert fleet.store.recurring.trigger("job").state is JobState.ENQUEUED


# -- requeue


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_requeued_run_waits_for_the_one_that_is_going(fleet: Fleet, overlap: str) -> None:
    old = start_first(fleet, overlap)
    fleet.worker.fail(old)
    assert fleet.store.jobs.requeue(old.id), "none is going"
    assert states(fleet) == ["Enqueued"]
    fleet.worker.fail(fleet.worker.claim_one())
    fleet.tick(minute(2))
    run = fleet.worker.claim_one()

    assert fleet.store.jobs.requeue(old.id)
    assert states(fleet) == ["Awaiting", "Processing"]
    assert not fleet.store.jobs.requeue(old.id), "it waits already"
    fleet.worker.fail(run, retry_in=60)
    fleet.promote()
    assert states(fleet) == ["Awaiting", "Scheduled"]
    assert fleet.store.jobs.requeue(run.id), "its retry comes now"
    assert states(fleet) == ["Awaiting", "Enqueued"]
    fleet.worker.succeed(fleet.worker.claim_one())
    fleet.promote()
    assert fleet.worker.claim_one().id == old.id


def test_many_that_are_requeued_go_one_by_one(fleet: Fleet) -> None:
    fleet.declare(**policy("skip"))
    for number in range(1, 4):
        fleet.tick(minute(number))
        fleet.worker.succeed(fleet.worker.claim_one())
    fleet.notified.clear()
    fleet.store.subscribe(fleet.notified.append)
    ids = [job.id for job in fleet.jobs()]
    assert fleet.store.jobs.requeue_all(ids) == ids
    assert states(fleet) == ["Enqueued", "Awaiting", "Awaiting"]
    assert fleet.notified == [Notification(Topic.JOB, "default", 0)]
    for id in ids:
        run = fleet.worker.claim_one()
        assert run.id == id
        fleet.worker.succeed(run)
        fleet.promote()


@pytest.mark.parametrize("overlap", ["allow", "cancel"])
def test_a_requeued_run_goes_beside_another_where_runs_are_not_kept_apart(
    fleet: Fleet, overlap: str
) -> None:
    old = start_first(fleet, overlap)
    fleet.worker.succeed(old)
    fleet.tick(minute(2))
    fleet.worker.claim_one()
    assert fleet.store.jobs.requeue(old.id)
    assert states(fleet) == ["Enqueued", "Processing"]


def test_skip_while_catching_up_runs_the_oldest(fleet: Fleet) -> None:
    fleet.declare(**policy("skip", misfire="all"))
    fleet.tick(minute(3))
    assert fleet.dues() == [minute(1)]
    assert outcomes(fleet) == ["run", "skipped", "skipped"]
    assert fleet.history()[-1].reason == GOING


# -- queue


def test_queue_lets_one_wait_until_the_other_has_ended(fleet: Fleet) -> None:
    run = start_first(fleet, "queue")
    assert run.options == '{"overlap":"queue"}'
    fleet.tick(minute(2))
    assert fleet.promoted, "it is looked at at once whether the other has ended meanwhile"
    fleet.tick(minute(3))
    assert states(fleet) == ["Processing", "Awaiting"]
    assert outcomes(fleet) == ["run", "run", "skipped"]
    waiting = fleet.jobs()[-1]
    assert fleet.history()[-1].reason == f"{WAITING} (job {waiting.id})"
    assert fleet.job().last_due == minute(2)
    assert fleet.worker.claim() == []
    fleet.promote()
    assert states(fleet) == ["Processing", "Awaiting"]

    fleet.worker.succeed(run)
    fleet.notified.clear()
    fleet.store.subscribe(fleet.notified.append)
    fleet.promote()
    assert fleet.notified == [Notification(Topic.JOB, "default", 0)]
    second = fleet.worker.claim_one()
    assert (second.id, second.due) == (waiting.id, minute(2))
    assert second.waited < 30, "from when it could run"
    fleet.worker.succeed(second)
    fleet.tick(minute(4))
    assert states(fleet) == ["Succeeded", "Succeeded", "Enqueued"]


def test_queue_waits_until_the_retries_of_the_other_are_over(fleet: Fleet) -> None:
    run = start_first(fleet, "queue")
    fleet.tick(minute(2))
    fleet.worker.fail(run, retry_in=90)
    fleet.promote()
    assert states(fleet) == ["Scheduled", "Awaiting"]
    assert fleet.worker.claim() == []
    fleet.tick(minute(4))
    run = fleet.worker.claim_one()
    assert (run.due, run.attempt) == (minute(1), 2)
    fleet.promote()
    assert states(fleet) == ["Processing", "Awaiting"]
    fleet.worker.fail(run)
    fleet.promote()
    assert fleet.worker.claim_one().due == minute(2)


def test_queue_while_catching_up_lets_one_run_and_one_wait(fleet: Fleet) -> None:
    fleet.declare(**policy("queue", misfire="all"))
    fleet.tick(minute(4))
    assert fleet.dues() == [minute(1), minute(2)]
    assert states(fleet) == ["Enqueued", "Awaiting"]
    assert outcomes(fleet) == ["run", "run", "skipped", "skipped"]


def test_one_that_waits_is_listed_counted_deleted_and_requeued(fleet: Fleet) -> None:
    start_first(fleet, "queue")
    fleet.tick(minute(2))
    jobs = fleet.store.jobs
    (waiting,) = jobs.page(JobState.AWAITING).items
    assert waiting.state is JobState.AWAITING
    assert jobs.page(JobState.AWAITING, recurring_id="job").items == [waiting]
    assert jobs.page(JobState.AWAITING, queue="other").items == []
    assert jobs.counts()[JobState.AWAITING].value == 1
    assert jobs.delete(waiting.id)
    assert jobs.page(JobState.AWAITING).items == []
    fleet.promote()
    assert states(fleet) == ["Processing", "Deleted"]
    fleet.tick(minute(3))
    assert states(fleet) == ["Processing", "Deleted", "Awaiting"]
    (waiting,) = jobs.page(JobState.AWAITING).items
    assert not jobs.requeue(waiting.id), "it goes when the other is over"
    fleet.declare(**policy("allow"))
    assert jobs.requeue(waiting.id)
    assert fleet.worker.claim_one().id == waiting.id


def test_one_that_waits_is_promoted_whatever_the_policy_has_become(fleet: Fleet) -> None:
    run = start_first(fleet, "queue")
    fleet.tick(minute(2))
    fleet.declare(**policy("allow"))
    fleet.tick(minute(3))
    assert states(fleet) == ["Processing", "Awaiting", "Enqueued"]
    third = fleet.worker.claim_one()
    fleet.worker.succeed(run)
    fleet.promote()
    assert states(fleet) == ["Succeeded", "Awaiting", "Processing"]
    fleet.worker.succeed(third)
    fleet.promote()
    assert states(fleet) == ["Succeeded", "Enqueued", "Succeeded"]


def test_one_that_waits_outlives_the_servers(fleet: Fleet) -> None:
    run = start_first(fleet, "queue")
    fleet.tick(minute(2))
    connection = fleet.store.database.open("other")
    fleet.store.servers.rescue(connection, [fleet.worker.id])
    connection.close()
    # The one that lost its server is going, and then the other's turn comes.
    fleet.promote()
    assert states(fleet) == ["Enqueued", "Awaiting"]
    fleet.store.jobs.delete(run.id)
    fleet.promote()
    assert states(fleet) == ["Deleted", "Enqueued"]


def test_of_two_that_wait_the_older_comes_first(fleet: Fleet) -> None:
    start_first(fleet, "queue")
    fleet.tick(minute(2))
    fleet.store.recurring.trigger("job")
    fleet.worker.succeed(*[_claimed(fleet)])
    fleet.promote()
    assert states(fleet) == ["Succeeded", "Enqueued", "Awaiting"]


def _claimed(fleet: Fleet) -> Claimed:
    job = fleet.jobs()[0]
    return Claimed(
        job.id, job.claim, 1, "work", "[[],{}]", "default", 0, job.run_at, 0.0, "job", None, None
    )


def test_promoting_at_the_same_time_promotes_each_once(
    fleet: Fleet, clocked_url: str, open_store: OpenStore
) -> None:
    ids = [f"job-{number}" for number in range(30)]
    for id in ids:
        fleet.declare(id, **policy("queue"))
    fleet.tick(minute(1))
    runs = fleet.worker.claim()
    fleet.tick(minute(2))
    fleet.worker.succeed(*runs)
    stores = [open_store(clocked_url) for _ in range(4)]
    connections = [store.database.open("control") for store in stores]

    def promote(number: int) -> int:
        return len(stores[number].recurring.promote(connections[number]).notifications)

    race(4, promote)
    # What one of them left out, since another had locked its row, comes with the next look.
    fleet.promote()
    for connection in connections:
        connection.close()
    assert len(fleet.worker.claim(100)) == 30


def test_a_promotion_is_told_to_other_processes(
    fleet: Fleet, clocked_url: str, open_store: OpenStore
) -> None:
    run = start_first(fleet, "queue")
    fleet.tick(minute(2))
    fleet.worker.succeed(run)
    other = open_store(clocked_url)
    driver = other.database.driver
    listening = other.database.open("listen")
    driver.listen(listening)
    fleet.promote()
    notifications = driver.receive(listening, 2.0)
    assert notifications in ([Notification(Topic.JOB, "default", 0)], [Notification(Topic.ANY)])
    listening.close()


def test_looking_costs_little_where_nothing_waits(fleet: Fleet) -> None:
    assert promoter.INTERVAL <= 5
    notified: list[str] = []
    engine = fleet.store.database.engine

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        notified.append(statement)

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    try:
        fleet.promote()
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)
    assert engine is not None
    assert len(notified) == 1


# -- cancel


def test_cancel_asks_the_running_one_to_stop_and_runs(fleet: Fleet) -> None:
    run = start_first(fleet, "cancel")
    fleet.notified.clear()
    fleet.tick(minute(2))
    first, second = fleet.jobs()
    assert (first.state, first.cancel_requested) == (JobState.PROCESSING, True)
    assert (second.state, second.due) == (JobState.ENQUEUED, minute(2))
    assert Notification(Topic.CANCEL) in fleet.notified
    assert outcomes(fleet) == ["run", "run"]
    fleet.worker.fail(run)
    assert states(fleet) == ["Deleted", "Enqueued"]


def test_cancel_takes_the_place_of_one_that_waits(fleet: Fleet) -> None:
    fleet.declare(**policy("cancel"))
    fleet.tick(minute(1))
    fleet.tick(minute(2))
    assert states(fleet) == ["Deleted", "Enqueued"]
    assert Notification(Topic.CANCEL) not in fleet.notified


def test_cancel_takes_the_place_of_one_that_waits_for_its_retry(fleet: Fleet) -> None:
    run = start_first(fleet, "cancel")
    fleet.worker.fail(run, retry_in=300)
    fleet.tick(minute(2))
    assert states(fleet) == ["Deleted", "Enqueued"]


def test_cancel_while_catching_up_runs_the_newest(fleet: Fleet) -> None:
    start_first(fleet, "cancel", misfire="all")
    fleet.tick(minute(4))
    assert fleet.dues() == [minute(1), minute(4)]
    assert outcomes(fleet) == ["run", "skipped", "skipped", "run"]
    assert {tick.reason for tick in fleet.history()[1:3]} == {REPLACED}
    assert fleet.jobs()[0].cancel_requested


def test_cancel_of_many_at_once(fleet: Fleet) -> None:
    for number in range(20):
        fleet.declare(f"job-{number}", **policy("cancel"))
    fleet.tick(minute(1))
    fleet.worker.claim(10)
    fleet.tick(minute(2))
    jobs = [job for number in range(20) for job in fleet.jobs(f"job-{number}")]
    assert sum(job.cancel_requested for job in jobs) == 10
    assert sum(job.state is JobState.DELETED for job in jobs) == 10
    assert sum(job.state is JobState.ENQUEUED for job in jobs) == 20


# -- the cost


def test_plain_ones_cost_no_question_more(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    active = fleet.store.recurring.active

    def counted(connection: sa.Connection, ids: list[str]) -> object:
        asked.append(len(ids))
        return active(connection, ids)

    monkeypatch.setattr(fleet.store.recurring, "active", counted)
    for number in range(5):
        fleet.declare(f"plain-{number}")
    fleet.tick(minute(1))
    assert asked == []
    for number in range(5):
        fleet.declare(f"job-{number}", **policy("skip"))
    fleet.tick(minute(2))
    assert asked == [5]


# -- at the same time


def test_all_that_may_let_a_run_go_races_and_one_goes(
    fleet: Fleet, clocked_url: str, open_store: OpenStore
) -> None:
    """Ticks, triggers, requeues and promotions by several servers, each for all of them."""
    others = [Fleet(open_store(clocked_url), fleet.clock) for _ in range(6)]
    ids = [f"job-{number}" for number in range(10)]
    for number, id in enumerate(ids):
        fleet.declare(id, **policy(["skip", "queue"][number % 2]))
    job = fleet.store.database.tables.job.c
    fleet.tick(minute(1))
    runs = fleet.worker.claim(100)
    assert len(runs) == len(ids)

    def act(number: int) -> None:
        other = others[number]
        match number:
            case 0 | 1:
                other.tick()
            case 2:
                for id in ids:
                    other.store.recurring.trigger(id)
            case 3:
                for run in runs:
                    other.store.jobs.requeue(run.id)
            case _:
                for _ in range(5):
                    other.promote()

    for round in range(2, 10):
        fleet.worker.succeed(*runs)
        fleet.clock.set(minute(round))
        race(len(others), act)
        with fleet.store.database.connect() as connection:
            found = connection.execute(
                sa.select(job.recurring_id, sa.func.count())
                .where(job.finished_at.is_(None), job.state != "Awaiting")
                .group_by(job.recurring_id)
            ).all()
        assert {count for _, count in found} == {1}, f"round {round}: {found}"
        fleet.promote()
        runs = fleet.worker.claim(100)
        assert {run.recurring_id for run in runs} == set(ids)
    for other in others:
        other.close()
