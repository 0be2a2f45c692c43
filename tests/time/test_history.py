"""What one reads of recurring jobs: pages of them, their past, and the run before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from flask_recurring import JobContext, PreviousRun, Scheduler
from flask_recurring._store import Bookmark, CappedCount, Order, RecurringPage, Store
from flask_recurring._store.capped_count import CAP
from flask_recurring._store.recurring.history import percentile
from flask_recurring.job import JobState
from tests.applications import Applications, lines_of, store_of, wait_for_job
from tests.store.samples import change, definition
from tests.store.worker import failure, success
from tests.time.fleet import Fleet

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)

ENDS = [JobState.SUCCEEDED, JobState.FAILED, JobState.DELETED]


# -- pages


def bookmark(id: str) -> Bookmark:
    return Bookmark(None, id)


def ids_of(page: RecurringPage) -> list[str]:
    return [job.id for job in page.items]


def test_pages_in_the_order_of_ids_forth_and_back(store: Store) -> None:
    ids = [f"job-{number:02}" for number in range(25)]
    store.recurring.save([definition(id) for id in reversed(ids)])
    first = store.recurring.page(limit=10)
    assert ids_of(first) == ids[:10]
    assert (first.previous, first.next, first.total) == (None, bookmark("job-09"), CappedCount(25))
    second = store.recurring.page(after=first.next, limit=10)
    assert ids_of(second) == ids[10:20]
    assert (second.previous, second.next) == (bookmark("job-10"), bookmark("job-19"))
    third = store.recurring.page(after=second.next, limit=10)
    assert ids_of(third) == ids[20:]
    assert (third.previous, third.next) == (bookmark("job-20"), None)
    assert store.recurring.page(before=third.previous, limit=10) == second
    back = store.recurring.page(before=second.previous, limit=10)
    assert back.items == first.items
    assert (back.previous, back.next) == (None, bookmark("job-09"))
    exact = store.recurring.page(after=bookmark("job-14"), limit=10)
    assert (len(exact.items), exact.next) == (10, None)
    nothing = store.recurring.page(after=bookmark("job-24"))
    assert (nothing.items, nothing.previous, nothing.next) == ([], None, None)
    # A place that comes from a list in another order is still a place.
    assert store.recurring.page(after=Bookmark(7, "job-09"), limit=10) == second
    assert store.recurring.count() == CappedCount(25)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 9])
@pytest.mark.parametrize("order", Order)
def test_pages_in_each_order_forth_and_back(store: Store, order: Order, limit: int) -> None:
    """Some have a next tick or a last run, and some, after them, have none."""
    ids = ["a", "b", "c", "d", "e", "f", "g"]
    store.recurring.save([definition(id, task="work" if id < "d" else "other") for id in ids])
    next_at = {"g": 1, "c": 2, "b": 2, "e": 3}
    last_job = {"d": 1, "f": 2, "b": 3}
    row = store.database.tables.recurring_job
    with store.database.begin() as connection:
        for id in ids:
            values = {
                "next_at": NOON + next_at[id] * MINUTE if id in next_at else None,
                "last_job_id": last_job.get(id),
            }
            connection.execute(sa.update(row).where(row.c.id == id).values(values))
    expected = {
        Order.ID: ids,
        Order.NEXT: ["g", "b", "c", "e", "a", "d", "f"],
        Order.LAST: ["b", "f", "d", "a", "c", "e", "g"],
    }[order]
    assert walk(store, order, limit) == expected
    assert walk(store, order, limit, "work") == [id for id in expected if id < "d"]


def walk(store: Store, order: Order, limit: int, search: str = "") -> list[str]:
    """The ids of all pages; on the way back they must be the same, page by page."""
    page = store.recurring.page(search, order=order, limit=limit)
    assert page.previous is None
    pages = [page]
    while page.next is not None:
        assert Bookmark.parse(str(page.next)) == page.next
        page = store.recurring.page(search, order=order, after=page.next, limit=limit)
        pages.append(page)
    for earlier in reversed(pages[:-1]):
        assert page.previous is not None
        page = store.recurring.page(search, order=order, before=page.previous, limit=limit)
        assert ids_of(page) == ids_of(earlier)
    assert page.previous is None
    return [id for page in pages for id in ids_of(page)]


def test_a_page_begins_where_the_last_one_ended_whatever_ticks_meanwhile(fleet: Fleet) -> None:
    for number in range(4):
        fleet.declare(f"job-{number}", cron=f"{number} * * * *")
    fleet.clock.set(NOON + 30 * SECOND)
    read = partial(fleet.store.recurring.page, order=Order.NEXT, limit=2)
    first = read()
    assert ids_of(first) == ["job-1", "job-2"]
    fleet.tick(NOON + 2 * MINUTE)
    assert ids_of(read(after=first.next)) == ["job-3", "job-0"]


@pytest.mark.parametrize(
    "text",
    ["", "job", ".", "x.job", "-1.job", f"{10**17}.job", ".a\0b", ".\ud800", "." + "x" * 1001],
)
def test_what_is_no_place_in_a_list(text: str) -> None:
    with pytest.raises(ValueError, match="not a place in a list"):
        Bookmark.parse(text)


@pytest.mark.parametrize("place", [Bookmark(None, "a.b"), Bookmark(12, ".a\nb ")])
def test_a_place_in_a_list_as_text(place: Bookmark) -> None:
    assert Bookmark.parse(str(place)) == place


def test_a_page_of_those_with_all_words_in_id_or_task(store: Store) -> None:
    store.recurring.save(
        [
            definition("Mail weekly", task="shop.mail"),
            definition("mail 100%", task="shop.mail"),
            definition("report_daily", task="shop.report"),
        ]
    )

    def found(search: str) -> list[str]:
        page = store.recurring.page(search)
        assert page.total == CappedCount(len(page.items))
        return [job.id for job in page.items]

    assert found("MAIL week") == ["Mail weekly"]
    assert found("  shop ") == [job.id for job in store.recurring.all()]
    assert found("100%") == ["mail 100%"]
    assert found("%") == ["mail 100%"]
    assert found("report_") == ["report_daily"]
    assert found("l_w") == []
    assert found("nothing") == []
    assert found("mail\0") == []
    assert found("x" * 10_000) == []


def test_a_page_counts_up_to_a_cap(store: Store) -> None:
    store.recurring.save([definition(f"job-{number}") for number in range(CAP + 1)])
    assert store.recurring.count() == store.recurring.page(limit=1).total == CappedCount(CAP, True)
    assert len(store.recurring.page(limit=3).items) == 3


def test_those_whose_next_ticks_come_first(fleet: Fleet) -> None:
    fleet.declare("hourly", cron="0 * * * *")
    fleet.declare("minutely")
    fleet.declare("paused")
    fleet.declare("daily", cron="0 0 * * *")
    fleet.store.recurring.pause("paused")
    assert [job.id for job in fleet.store.recurring.upcoming()] == ["minutely", "hourly", "daily"]
    assert [job.id for job in fleet.store.recurring.upcoming(1)] == ["minutely"]


# -- the past


def test_history_tells_how_runs_went(fleet: Fleet) -> None:
    fleet.declare(overlap="skip")
    fleet.tick(NOON + MINUTE)
    fleet.clock.move(5 * SECOND)
    run = fleet.worker.claim_one()
    fleet.tick(NOON + 2 * MINUTE)
    fleet.worker.complete([success(run, seconds=3)])
    fleet.store.recurring.trigger("job", "Ann")
    active = fleet.worker.claim_one()
    triggered, skipped, first = fleet.store.recurring.history("job")
    assert (first.tick.due, first.tick.outcome) == (NOON + MINUTE, "run")
    assert (first.state, first.tick.job_id) == (JobState.SUCCEEDED, run.id)
    assert first.duration == pytest.approx(3, abs=0.01)
    assert first.lateness is not None
    assert (skipped.tick.outcome, skipped.state, skipped.lateness) == ("skipped", None, None)
    assert (triggered.tick.reason, triggered.state) == ("by Ann", JobState.PROCESSING)
    assert triggered.duration is None
    assert triggered.lateness == pytest.approx(0, abs=5)
    assert triggered.started_at is not None
    assert triggered.finished_at is None
    fleet.worker.succeed(active)
    assert len(fleet.store.recurring.history("job", 2)) == 2
    assert fleet.store.recurring.history("nul\0") == []


def test_lateness_is_that_of_the_first_attempt(fleet: Fleet) -> None:
    fleet.declare(cron="0 * * * *")
    fleet.tick(NOON + 60 * MINUTE)
    fleet.clock.move(10 * SECOND)
    run = fleet.worker.claim_one()
    fleet.worker.complete(failures=[failure(run, retry_in=60)])
    scheduled = fleet.store.recurring.history("job")[0]
    assert scheduled.state is JobState.SCHEDULED
    assert scheduled.lateness == pytest.approx(10, abs=2)
    fleet.clock.move(70 * SECOND)
    fleet.worker.succeed(fleet.worker.claim_one())
    (done,) = fleet.store.recurring.history("job")
    assert done.lateness == pytest.approx(10, abs=2)
    assert done.state is JobState.SUCCEEDED


def test_history_outlives_its_jobs(fleet: Fleet) -> None:
    fleet.declare()
    fleet.tick(NOON + MINUTE)
    fleet.worker.succeed(fleet.worker.claim_one())
    fleet.clock.move(timedelta(days=2))
    assert fleet.store.jobs.purge(timedelta(days=1), ENDS) == 1
    (gone,) = fleet.store.recurring.history("job")
    assert (gone.tick.due, gone.state, gone.duration) == (NOON + MINUTE, None, None)


def test_timing_of_the_last_runs(fleet: Fleet) -> None:
    fleet.declare()
    timing = fleet.store.recurring.timing("job")
    assert (timing.runs, timing.lateness_p50, timing.duration_p95) == (0, None, None)
    for number in range(1, 21):
        fleet.tick(NOON + number * MINUTE)
        fleet.worker.complete([success(fleet.worker.claim_one(), seconds=number)])
    job = fleet.store.database.tables.job
    # A success takes its own time: what counts is what the row says.
    for one in fleet.jobs():
        assert one.due is not None
        number = (one.due - NOON) // MINUTE
        change(
            fleet.store,
            job,
            job.c.id == one.id,
            started_at=one.due + number * SECOND / 10,
            finished_at=one.due + number * SECOND / 10 + number * SECOND,
        )
    timing = fleet.store.recurring.timing("job")
    assert timing.runs == 20
    assert (timing.lateness_p50, timing.lateness_p95) == (1.0, 1.9)
    assert (timing.duration_p50, timing.duration_p95) == (10.0, 19.0)
    assert fleet.store.recurring.timing("job", 1).duration_p50 == 20.0


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    assert percentile([7.0], 0.5) == percentile([7.0], 0.95) == 7.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(number) for number in range(1, 101)], 0.95) == 95.0


# -- the run before


def test_the_run_before_is_the_last_that_succeeded(fleet: Fleet) -> None:
    fleet.declare()
    runs = []
    for number in range(1, 5):
        fleet.tick(NOON + number * MINUTE)
        runs.append(fleet.worker.claim_one())
    recurring = fleet.store.recurring
    assert recurring.previous_run("job", runs[3].id) is None
    fleet.worker.succeed(runs[0])
    fleet.worker.fail(runs[1])
    found = recurring.previous_run("job", runs[3].id)
    job = fleet.jobs()[0]
    assert job.started_at is not None
    assert job.finished_at is not None
    assert found == PreviousRun(
        job_id=job.id,
        due=NOON + MINUTE,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )
    # One that was due later comes not before it, even if it has ended before.
    fleet.worker.succeed(runs[2], runs[3])
    assert recurring.previous_run("job", runs[1].id) == found
    assert recurring.previous_run("job", runs[0].id) is None
    assert recurring.previous_run("other", runs[3].id) is None


def test_the_run_before_is_known_when_its_job_is_purged(fleet: Fleet) -> None:
    fleet.declare("job", cron="0 0 1 * *")
    fleet.declare("other", cron="0 0 1 * *")
    fleet.declare("often")
    april, may = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    fleet.tick(april)
    runs = fleet.worker.claim()
    fleet.worker.succeed(*(run for run in runs if run.recurring_id != "other"))
    before = fleet.store.recurring.previous_run("job", 10**6)
    assert before is not None
    fleet.clock.move(timedelta(days=5))
    assert fleet.store.jobs.purge(timedelta(days=1), ENDS) == 2
    assert fleet.jobs() == []
    fleet.tick(may)
    run = next(job for job in fleet.worker.claim() if job.recurring_id == "job")
    assert fleet.store.recurring.previous_run("job", run.id) == before
    assert fleet.store.recurring.previous_run("other", 10**6) is None
    # The next one that is purged takes its place.
    fleet.worker.succeed(run)
    fleet.clock.move(timedelta(days=5))
    fleet.store.jobs.purge(timedelta(days=1), ENDS)
    after = fleet.store.recurring.previous_run("job", 10**6)
    assert after is not None
    assert (after.job_id, after.due) == (run.id, may)
    assert fleet.store.recurring.previous_run("job", run.id) is None


def test_an_older_success_that_goes_later_takes_no_newer_ones_place(fleet: Fleet) -> None:
    fleet.declare()
    for number in (1, 2):
        fleet.tick(NOON + number * MINUTE)
    first, second = fleet.worker.claim()
    fleet.worker.succeed(second)
    fleet.clock.move(timedelta(days=2))
    fleet.store.jobs.purge(timedelta(days=1), ENDS)
    fleet.worker.succeed(first)
    fleet.clock.move(timedelta(days=2))
    fleet.store.jobs.purge(timedelta(days=1), ENDS)
    found = fleet.store.recurring.previous_run("job", 10**6)
    assert found is not None
    assert found.job_id == second.id


def test_a_run_asks_for_the_one_before(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task("work")
    def work(context: JobContext, fail: bool = False) -> None:
        previous = context.previous_run
        assert context.previous_run is previous
        context.write_line(previous.job_id if previous else None)
        if fail:
            raise ValueError

    app = apps.make(scheduler, database_url)
    scheduler.add_or_update("job", work, "0 0 1 1 *", retry=False)
    apps.start(app)
    first = wait_for_job(app, scheduler.trigger("job"))
    scheduler.add_or_update("job", work, "0 0 1 1 *", kwargs={"fail": True}, retry=False)
    failed = wait_for_job(app, scheduler.trigger("job"))
    assert failed.state is JobState.FAILED
    third = wait_for_job(app, scheduler.trigger("job"))
    assert lines_of(app, first)[0] == "None"
    assert lines_of(app, failed)[0] == lines_of(app, third)[0] == str(first.id)
    plain = wait_for_job(app, work.enqueue())
    assert lines_of(app, plain) == ["None"]
    assert store_of(app).recurring.previous_run("job", third.id) is not None


def test_outside_of_a_run_there_is_none_before(capsys: pytest.CaptureFixture[str]) -> None:
    scheduler = Scheduler()

    @scheduler.task("work")
    def work(context: JobContext) -> None:
        context.write_line(context.previous_run)

    work()
    assert capsys.readouterr().out == "None\n"
