"""Recurring jobs: their definitions. Their ticks are in ``test_ticks``."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from flask_recurring._recurring.definition import Definition
from flask_recurring._recurring.recurring_job import RecurringJob
from flask_recurring._store import Notification, Store, Topic
from flask_recurring.cron import CronExpression
from flask_recurring.errors import UnknownRecurringJobError
from flask_recurring.job import JobState
from tests.store.conftest import OpenStore
from tests.store.race import race
from tests.store.samples import MOMENT, change, definition, fetch, row_count, ticks_of
from tests.store.worker import Worker

DAILY = "30 4 * * *"


def get(store: Store, id: str = "nightly") -> RecurringJob:
    """The recurring job, which must exist."""
    found = store.recurring.get(id)
    assert found is not None
    return found


def make_due(store: Store, at: datetime = MOMENT) -> None:
    """Let every recurring job be due since then."""
    change(store, store.database.tables.recurring_job, next_at=at)


# -- saving


def test_a_definition_reads_back(store: Store) -> None:
    new = definition(
        arguments='[[1],{"to":"ü"}]',
        queue="mail",
        priority=-2,
        cron=DAILY,
        timezone="Europe/Berlin",
        timeout=5,
    )
    before = store.now()
    assert store.recurring.save([new]) == 1
    found = get(store)
    assert (found.id, found.task, found.args, found.kwargs) == (
        "nightly",
        "work",
        (1,),
        {"to": "ü"},
    )
    assert (found.queue, found.priority) == ("mail", -2)
    assert (found.cron, found.timezone, found.paused) == (DAILY, "Europe/Berlin", False)
    assert before <= found.created_at <= store.now()
    assert found.updated_at == found.created_at
    assert found.next_at == CronExpression(DAILY).next(found.created_at, ZoneInfo("Europe/Berlin"))
    assert (found.last_due, found.last_job_id, found.last_job_state) == (None, None, None)
    assert store.recurring.all() == [found]
    assert store.recurring.get("other") is None


def test_all_come_in_the_order_of_their_ids(store: Store) -> None:
    ids = ["b", "a", "ü", "A", "a b", "10", "9"]
    assert store.recurring.save([definition(id) for id in ids]) == len(ids)
    assert {found.id for found in store.recurring.all()} == set(ids)
    assert [one.id for one in store.recurring.all()] == [one.id for one in store.recurring.all()]


def test_saving_what_is_there_writes_nothing(store: Store) -> None:
    news = [definition("a"), definition("b", cron=DAILY)]
    assert store.recurring.save(news) == 2
    make_due(store)
    before = store.recurring.all()
    told: list[Notification] = []
    store.subscribe(told.append)
    assert store.recurring.save(news) == 0
    assert store.recurring.save([]) == 0
    # Nothing was touched, the tick that has fallen due meanwhile included.
    assert store.recurring.all() == before
    assert told == []


@pytest.mark.parametrize(
    "changed",
    [
        definition(cron=DAILY, task="play"),
        definition(cron=DAILY, arguments="[[2],{}]"),
        definition(cron=DAILY, queue="mail"),
        definition(cron=DAILY, priority=9),
        definition(cron=DAILY, timeout=1),
    ],
)
def test_a_change_keeps_the_tick_that_is_due(store: Store, changed: Definition) -> None:
    store.recurring.save([definition(cron=DAILY)])
    make_due(store)
    before = get(store)
    told: list[Notification] = []
    store.subscribe(told.append)
    assert store.recurring.save([changed]) == 1
    after = get(store)
    assert after.next_at == MOMENT
    assert after.updated_at > before.updated_at
    assert after.created_at == before.created_at
    assert told == [Notification(Topic.SCHEDULE)]
    assert store.recurring.save([changed]) == 0


def test_options_can_be_taken_away_again(store: Store) -> None:
    store.recurring.save([definition(timeout=1)])
    assert store.recurring.save([definition()]) == 1
    assert store.recurring.save([definition()]) == 0


def test_another_cron_or_zone_sets_the_next_tick_from_now_on(store: Store) -> None:
    store.recurring.save([definition(cron=DAILY)])
    for changed in (
        definition(cron="0 5 * * *"),
        definition(cron="0 5 * * *", timezone="Asia/Tokyo"),
        definition(cron=DAILY),
    ):
        make_due(store)
        assert store.recurring.save([changed]) == 1
        found = get(store)
        zone = ZoneInfo(changed.options["timezone"])
        assert found.next_at == CronExpression(changed.options["cron"]).next(found.updated_at, zone)
        assert found.next_at is not None
        assert found.next_at > found.updated_at


def test_a_cron_that_never_comes_again_has_no_next_tick(store: Store) -> None:
    store.recurring.save([definition(cron="0 0 30 2 *")])
    assert get(store).next_at is None


def test_of_two_applications_with_one_id_the_last_stands(
    store: Store, open_store: OpenStore
) -> None:
    other = open_store()
    store.recurring.save([definition(task="first", cron=DAILY)])
    assert other.recurring.save([definition(task="second", cron="0 5 * * *")]) == 1
    assert get(store).task == "second"
    assert store.recurring.save([definition(task="first", cron=DAILY)]) == 1
    assert (get(store).task, get(store).cron) == ("first", DAILY)
    assert row_count(store, store.database.tables.recurring_job) == 1


def test_many_that_start_together_write_each_definition_once(
    store: Store, open_store: OpenStore
) -> None:
    stores = [open_store() for _ in range(4)]
    for round in range(5):
        news = [definition(f"job-{round}-{number}") for number in range(10)]

        def save(number: int, news: list[Definition] = news) -> int:
            return stores[number].recurring.save(news if number % 2 else news[::-1])

        assert sum(race(len(stores), save)) == 10
    assert row_count(store, store.database.tables.recurring_job) == 50


def test_two_applications_that_differ_and_start_together(
    store: Store, open_store: OpenStore
) -> None:
    stores = [open_store() for _ in range(2)]

    def save(number: int) -> int:
        news = [definition(f"job-{one}", task=f"task-{number}") for one in range(20)]
        written = 0
        for _ in range(5):
            written += stores[number].recurring.save(news)
        return written

    race(2, save)
    found = store.recurring.all()
    assert len(found) == 20
    # Each save is one transaction: what stands is all of one application.
    assert len({one.task for one in found}) == 1


def test_a_save_is_all_or_nothing(store: Store) -> None:
    with pytest.raises(sa.exc.SQLAlchemyError):
        store.recurring.save([definition("a"), definition("b", task=None)])
    assert store.recurring.all() == []
    with pytest.raises(ValueError, match=r"cron|field"):
        store.recurring.save([definition("a"), definition("b", cron="x")])
    assert store.recurring.all() == []


# -- pausing


def test_a_paused_one_has_no_ticks_until_it_is_resumed(
    store: Store, connection: sa.Connection
) -> None:
    store.recurring.save([definition()])
    make_due(store)
    told: list[Notification] = []
    store.subscribe(told.append)
    store.recurring.pause("nightly")
    paused = get(store)
    assert (paused.paused, paused.next_at) == (True, None)
    assert store.recurring.nearest(connection, ["work"])[1] is None
    assert store.recurring.lock_due(connection, ["work"], 10) == []
    store.recurring.pause("nightly")
    assert get(store).paused
    store.recurring.resume("nightly")
    resumed = get(store)
    assert not resumed.paused
    assert resumed.next_at is not None
    # From where it was paused on: its misfire policy decides about what it missed.
    assert resumed.next_at == MOMENT
    assert told == [Notification(Topic.SCHEDULE)] * 3


def test_resuming_what_is_not_paused_keeps_the_tick_that_is_due(store: Store) -> None:
    store.recurring.save([definition()])
    make_due(store)
    before = get(store)
    store.recurring.resume("nightly")
    assert get(store) == before


def test_a_paused_one_stays_paused_whatever_is_saved(store: Store) -> None:
    store.recurring.save([definition()])
    store.recurring.pause("nightly")
    assert store.recurring.save([definition()]) == 0
    assert store.recurring.save([definition(cron=DAILY, queue="mail")]) == 1
    found = get(store)
    assert (found.paused, found.next_at, found.cron) == (True, None, DAILY)
    store.recurring.resume("nightly")
    resumed = get(store)
    assert resumed.next_at == CronExpression(DAILY).next(resumed.updated_at, ZoneInfo("UTC"))


# -- removing


def test_removing_leaves_the_history(store: Store, worker: Worker) -> None:
    store.recurring.save([definition()])
    job_id = store.recurring.trigger("nightly").id
    store.recurring.remove("nightly")
    assert store.recurring.get("nightly") is None
    assert fetch(store, job_id).recurring_id == "nightly"
    assert [tick.job_id for tick in ticks_of(store, "nightly")] == [job_id]
    assert worker.claim_one().id == job_id
    assert store.recurring.save([definition()]) == 1


def test_what_is_not_there_is_an_error(store: Store) -> None:
    recurring = store.recurring
    recurring.save([definition("a"), definition("a?")])
    for id in ("nightly", "", "a\0", "a\ud800", "'; --"):
        for call in (recurring.remove, recurring.pause, recurring.resume, recurring.trigger):
            with pytest.raises(UnknownRecurringJobError, match=r"there is no recurring job"):
                call(id)
        assert recurring.get(id) is None
        assert recurring.history(id) == []
    assert row_count(store, store.database.tables.job) == 0
    assert len(recurring.all()) == 2


# -- triggering


def test_triggering_runs_it_beside_its_ticks(store: Store, worker: Worker) -> None:
    store.recurring.save(
        [definition(arguments="[[7],{}]", queue="mail", priority=3, timeout=9, cron=DAILY)]
    )
    before = get(store)
    told: list[Notification] = []
    store.subscribe(told.append)
    job_id = store.recurring.trigger("nightly", "Ann").id
    assert told == [Notification(Topic.JOB, "mail", 3)]
    job = fetch(store, job_id)
    assert (job.task, job.args, job.queue, job.priority) == ("work", (7,), "mail", 3)
    assert (job.recurring_id, job.due, job.state) == ("nightly", None, JobState.ENQUEUED)
    after = get(store)
    assert (after.next_at, after.last_due) == (before.next_at, None)
    assert (after.last_job_id, after.last_job_state) == (job_id, JobState.ENQUEUED)
    assert after.last_job_at == job.created_at
    assert after.updated_at == before.updated_at
    [tick] = ticks_of(store, "nightly")
    assert (tick.outcome, tick.due, tick.reason, tick.job_id) == (
        "triggered",
        None,
        "by Ann",
        job_id,
    )
    run = worker.claim_one()
    assert (run.id, run.recurring_id, run.due) == (job_id, "nightly", None)
    assert run.options == '{"timeout":9.0}'


def test_a_reason_is_kept_as_far_as_it_goes(store: Store) -> None:
    store.recurring.save([definition()])
    for actor in ("a\0\ud800", "x" * 10_000):
        store.recurring.trigger("nightly", actor)
    assert [tick.reason for tick in ticks_of(store, "nightly")] == [
        "by " + "x" * 496 + "…",
        "by a\N{SYMBOL FOR NULL}?",
    ]


def test_a_paused_one_can_be_triggered_any_number_of_times(store: Store) -> None:
    store.recurring.save([definition()])
    store.recurring.pause("nightly")
    found = [store.recurring.trigger("nightly").id for _ in range(3)]
    assert [tick.job_id for tick in ticks_of(store, "nightly")] == found[::-1]
    assert [tick.job_id for tick in ticks_of(store, "nightly", limit=2)] == found[:0:-1]
    assert get(store).paused
    assert get(store).last_job_id == found[-1]


def test_the_state_of_the_last_job(store: Store, worker: Worker) -> None:
    store.recurring.save([definition()])
    job_id = store.recurring.trigger("nightly").id
    run = worker.claim_one()
    assert get(store).last_job_state is JobState.PROCESSING
    worker.fail(run, retry_in=60)
    assert get(store).last_job_state is JobState.SCHEDULED
    store.jobs.delete(job_id)
    assert get(store).last_job_state is JobState.DELETED
    change(store, store.database.tables.job, finished_at=MOMENT)
    store.jobs.purge(timedelta(days=1), [JobState.DELETED])
    gone = get(store)
    assert (gone.last_job_id, gone.last_job_state, gone.last_job_at) == (job_id, None, None)


def test_pausing_and_saving_and_triggering_at_the_same_time(
    store: Store, open_store: OpenStore
) -> None:
    stores = [open_store() for _ in range(4)]
    store.recurring.save([definition()])

    def run(number: int) -> None:
        recurring = stores[number].recurring
        for round in range(15):
            match number:
                case 0:
                    recurring.pause("nightly")
                case 1:
                    recurring.resume("nightly")
                case 2:
                    recurring.trigger("nightly")
                case _:
                    recurring.save([definition(cron=f"{round} * * * *")])

    race(4, run)
    found = get(store)
    assert (found.next_at is None) is found.paused
    assert row_count(store, store.database.tables.job) == 15
    assert len(ticks_of(store, "nightly")) == 15
