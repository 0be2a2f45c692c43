"""Lists of jobs: pages in both directions, filters, counts and lanes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_recurring._store import CappedCount, Cursor, Store
from flask_recurring._store.capped_count import CAP
from flask_recurring._store.page import Page
from flask_recurring._store.types import from_microseconds
from flask_recurring.job import Job, JobState
from tests.store.samples import MOMENT, change, new_job, write_rows
from tests.store.worker import Worker

AHEAD = datetime(9000, 1, 1, tzinfo=MOMENT.tzinfo)

ONE = timedelta(microseconds=1)

LISTED = [state for state in JobState if state is not JobState.AWAITING]
"""Those that are Awaiting are in ``tests/time/test_overlap.py``."""

on_a_shared_store = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""For tests that empty the table at each example themselves."""


def row(state: JobState, at: datetime, **values: Any) -> dict[str, Any]:
    """A job as it would stand in the table, in this state since, or until, ``at``."""
    waiting = state in (JobState.ENQUEUED, JobState.SCHEDULED)
    running = state is JobState.PROCESSING
    given = {
        "task": "work",
        "arguments": "[[],{}]",
        "queue": "default",
        "priority": 0,
        "recurring_id": None,
        "state": "Enqueued" if waiting else state.value,
        "created_at": MOMENT,
        "run_at": at if waiting else MOMENT,
        "started_at": at if running else None,
        "finished_at": at if state.finished else None,
        "server_id": 1 if running else None,
    }
    return given | values


def base(state: JobState) -> datetime:
    """A time that puts a job into this state."""
    return AHEAD if state is JobState.SCHEDULED else MOMENT


def fill(store: Store, rows: list[dict[str, Any]]) -> None:
    """Let the table hold these rows only."""
    table = store.database.tables.job
    with store.database.begin() as connection:
        connection.execute(sa.delete(table))
        if rows:
            connection.execute(sa.insert(table), rows)


def everything(store: Store) -> list[Job]:
    """All jobs, by their ids."""
    with store.database.connect() as connection:
        ids = connection.execute(sa.select(store.database.tables.job.c.id)).scalars().all()
    found = [store.jobs.get(id) for id in sorted(ids)]
    return [job for job in found if job is not None]


def expected(jobs: Sequence[Job], state: JobState | None, **filters: Any) -> list[int]:
    """The ids of a list, in its order, as one would write it down by hand."""
    chosen = [
        job
        for job in jobs
        if (state is None or job.state is state)
        and all(getattr(job, name) == value for name, value in filters.items())
    ]
    by: Callable[[Job], Any]
    if state is None or filters.get("recurring_id") is not None:
        by = lambda job: job.id  # noqa: E731
    elif state in (JobState.ENQUEUED, JobState.SCHEDULED):
        by = lambda job: (job.run_at, job.id)  # noqa: E731
    elif state is JobState.PROCESSING:
        by = lambda job: (job.started_at, job.id)  # noqa: E731
    else:
        by = lambda job: (job.finished_at, job.id)  # noqa: E731
    rising = state in (JobState.ENQUEUED, JobState.SCHEDULED, JobState.PROCESSING)
    return [job.id for job in sorted(chosen, key=by, reverse=not rising)]


def walk_down(store: Store, state: JobState | None, limit: int, **filters: Any) -> list[Page]:
    """All pages from the head of a list to its end."""
    pages = [store.jobs.page(state, limit=limit, **filters)]
    assert pages[0].newer is None
    while pages[-1].older is not None:
        assert len(pages) < 1000, "the pages never end"
        place = Cursor.parse(str(pages[-1].older))
        pages.append(store.jobs.page(state, limit=limit, before=place, **filters))
    return pages


def walk_up(
    store: Store, state: JobState | None, limit: int, last: Page, **filters: Any
) -> list[Page]:
    """All pages from the last of a list to its head."""
    pages = [last]
    while pages[-1].newer is not None:
        assert len(pages) < 1000, "the pages never end"
        place = Cursor.parse(str(pages[-1].newer))
        pages.append(store.jobs.page(state, limit=limit, after=place, **filters))
    return pages


def ids(pages: Sequence[Page]) -> list[int]:
    return [job.id for page in pages for job in page.items]


# -- pages


def test_an_empty_list_is_one_empty_page(store: Store) -> None:
    for state in (None, *JobState):
        assert store.jobs.page(state) == Page([], None, None)


@pytest.mark.parametrize("state", LISTED)
@on_a_shared_store
@given(
    offsets=st.lists(st.sampled_from([0, 1, 2, 999_999, 1_000_000]), max_size=25),
    limit=st.integers(1, 8),
    lanes=st.integers(1, 3),
)
def test_pages_skip_and_double_nothing_although_times_are_equal(
    store: Store, state: JobState, offsets: list[int], limit: int, lanes: int
) -> None:
    places = [("a", 0), ("b", 0), ("a", -5)][:lanes]
    rows = []
    for number, offset in enumerate(offsets):
        queue, priority = places[number % lanes]
        at = base(state) + offset * ONE
        rows.append(row(state, at, queue=queue, priority=priority))
    # Others before and after them, which the list must not show.
    others = [row(other, base(other)) for other in LISTED if other is not state]
    fill(store, others + rows + others)
    wanted = expected(everything(store), state)
    assert len(wanted) == len(offsets)

    down = walk_down(store, state, limit)
    assert ids(down) == wanted
    assert all(len(page.items) == limit for page in down[:-1])
    up = walk_up(store, state, limit, down[-1])
    assert ids(up[::-1]) == wanted


def test_filters_narrow_a_list_and_keep_its_order(store: Store) -> None:
    rng = random.Random(5)
    rows = []
    for _ in range(240):
        of = rng.choice(LISTED)
        rows.append(
            row(
                of,
                base(of) + rng.randrange(4) * ONE,
                queue=rng.choice("ab"),
                priority=rng.choice([0, 1]),
                task=rng.choice(["work", "play"]),
                recurring_id=rng.choice([None, "nightly", "hourly"]),
            )
        )
    fill(store, rows)
    jobs = everything(store)
    choices: list[dict[str, str]] = [
        {"queue": "a"},
        {"task": "play"},
        {"recurring_id": "nightly"},
        {"queue": "b", "task": "work"},
        {"queue": "a", "task": "play", "recurring_id": "hourly"},
        {"queue": "nowhere"},
        {"recurring_id": "never"},
    ]
    for state in (None, *LISTED):
        for filters in choices:
            wanted = expected(jobs, state, **filters)
            limit = max(2, len(wanted) // 4)
            down = walk_down(store, state, limit, **filters)
            assert ids(down) == wanted, (state, filters)
            if wanted:
                up = walk_up(store, state, limit, down[-1], **filters)
                assert ids(up[::-1]) == wanted, (state, filters)


def test_what_comes_to_the_head_moves_no_page(store: Store) -> None:
    rows = [row(JobState.SUCCEEDED, MOMENT + number * ONE) for number in range(10)]
    fill(store, rows)
    first = store.jobs.page(JobState.SUCCEEDED, limit=4)
    write_rows(store, store.database.tables.job, [row(JobState.SUCCEEDED, MOMENT + 20 * ONE)] * 3)
    second = store.jobs.page(JobState.SUCCEEDED, limit=4, before=first.older)
    assert not {job.id for job in first.items} & {job.id for job in second.items}
    back = store.jobs.page(JobState.SUCCEEDED, limit=4, after=second.newer)
    assert back.items == first.items
    assert back.newer is not None
    head = store.jobs.page(JobState.SUCCEEDED, limit=4, after=back.newer)
    assert len(head.items) == 3
    assert head.newer is None


def test_the_page_from_which_all_rows_have_gone_is_empty(store: Store) -> None:
    fill(store, [row(JobState.FAILED, MOMENT)] * 5)
    page = store.jobs.page(JobState.FAILED, limit=2)
    fill(store, [])
    assert store.jobs.page(JobState.FAILED, before=page.older).items == []


def test_no_job_is_awaiting(store: Store) -> None:
    store.jobs.insert(new_job())
    assert store.jobs.page(JobState.AWAITING) == Page([], None, None)


def test_a_list_shows_the_state_that_the_list_is_of(store: Store, worker: Worker) -> None:
    store.jobs.insert_many([new_job(delay=0), new_job(delay=60), new_job(), new_job()])
    worker.claim(1)
    for state in (JobState.ENQUEUED, JobState.SCHEDULED, JobState.PROCESSING):
        page = store.jobs.page(state)
        assert page.items, state
        assert {job.state for job in page.items} == {state}


# -- cursors


@pytest.mark.parametrize(
    "cursor",
    [
        Cursor(None, 0),
        Cursor(None, 2**63 - 1),
        Cursor(MOMENT, 17),
        Cursor(from_microseconds(0), 1),
        Cursor(from_microseconds(-1), 1),
        Cursor(datetime.min.replace(tzinfo=MOMENT.tzinfo), 1),
        Cursor(datetime.max.replace(tzinfo=MOMENT.tzinfo), 1),
    ],
)
def test_a_cursor_comes_back_from_its_text(cursor: Cursor) -> None:
    assert Cursor.parse(str(cursor)) == cursor


@given(st.text(alphabet="0123456789.-+_ eE\0\u0661", max_size=30))
def test_only_the_text_of_a_cursor_is_read_as_one(text: str) -> None:
    try:
        cursor = Cursor.parse(text)
    except ValueError:
        return
    assert Cursor.parse(str(cursor)) == cursor
    assert re.fullmatch(r"(-?[0-9]+)?\.[0-9]+", text)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "1", "1.", "x.1", "1.x", "1.-1", "1.1.1", "1e5.1", " 1.1", "1 .1", "1. 1"),
        *("1_0.1", "+1.1", "--1.1", "١.1", "1.١", "1.1\n", "\n1.1", "1.1\0", "0x1.1", "1.1e3"),
        f"1.{2**63}",
        f"{10**30}.1",
        f"-{10**18}.1",
        f"{10**40}.{10**40}",
        "9" * 5000 + ".1",
    ],
)
def test_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="place in a list"):
        Cursor.parse(text)


def test_any_cursor_does_for_any_list(store: Store) -> None:
    fill(store, [row(of, base(of)) for of in LISTED])
    largest = 2**63 - 1
    for text in (".0", "0.0", f".{largest}", f"-62135596800000000.{largest}"):
        cursor = Cursor.parse(text)
        for state in (None, *JobState):
            for recurring_id in (None, "r"):
                store.jobs.page(state, recurring_id=recurring_id, before=cursor)
                store.jobs.page(state, recurring_id=recurring_id, after=cursor)


# -- counts


def test_counts_each_state(store: Store) -> None:
    assert store.jobs.counts() == dict.fromkeys(JobState, CappedCount(0))
    rows = []
    for number, state in enumerate(LISTED, start=1):
        rows += [
            row(state, base(state), queue="ab"[one % 2], priority=one % 3) for one in range(number)
        ]
    fill(store, rows)
    wanted = {state: CappedCount(number) for number, state in enumerate(LISTED, start=1)}
    assert store.jobs.counts() == wanted | {JobState.AWAITING: CappedCount(0)}


def test_counting_stops_at_the_cap(store: Store) -> None:
    half = CAP // 2
    fill(
        store,
        [row(JobState.SUCCEEDED, MOMENT)] * CAP
        + [row(JobState.FAILED, MOMENT)] * (CAP + 1)
        + [row(JobState.ENQUEUED, MOMENT, queue="a")] * half
        + [row(JobState.ENQUEUED, MOMENT, queue="b")] * (half + 1),
    )
    counts = store.jobs.counts()
    assert counts[JobState.SUCCEEDED] == CappedCount(CAP)
    assert counts[JobState.FAILED] == CappedCount(CAP, capped=True)
    assert counts[JobState.ENQUEUED] == CappedCount(CAP, capped=True)
    assert counts[JobState.SCHEDULED] == CappedCount(0)


def test_lists_and_counts_of_very_many_lanes(store: Store) -> None:
    count = 1_100
    at = base(JobState.SCHEDULED)
    rows = [row(JobState.SCHEDULED, at + n % 7 * ONE, priority=n) for n in range(count)]
    fill(store, [*rows, *(row(JobState.ENQUEUED, MOMENT, priority=-n) for n in range(50))])
    counts = store.jobs.counts()
    assert counts[JobState.SCHEDULED] == CappedCount(count)
    assert counts[JobState.ENQUEUED] == CappedCount(50)
    wanted = [n for _, n in sorted((entry["run_at"], n) for n, entry in enumerate(rows))]
    down = walk_down(store, JobState.SCHEDULED, 600)
    assert [job.priority for page in down for job in page.items] == wanted
    up = walk_up(store, JobState.SCHEDULED, 600, down[-1])
    assert [job.priority for page in up[::-1] for job in page.items] == wanted


def test_a_count_reads_as_a_number() -> None:
    assert str(CappedCount(0)) == "0"
    assert str(CappedCount(1234)) == "1,234"
    assert str(CappedCount(CAP, capped=True)) == "10,000+"


# -- lanes


def test_a_survey_finds_each_lane_once(store: Store, worker: Worker) -> None:
    assert worker.lanes() == []
    rng = random.Random(3)
    for queue in ("b", "a", "mail-2", "mail_1", "z"):
        for priority in (-32768, -1, 0, 7, 32767):
            count = rng.randrange(3)
            store.jobs.insert_many(
                new_job(queue=queue, priority=priority, delay=rng.randrange(100))
                for _ in range(count)
            )
    store.queues.pause("a")
    discover_lanes = worker.driver.discover_lanes(worker.connection)
    assert abs(discover_lanes.now - store.now()) < timedelta(seconds=5)
    jobs = everything(store)
    found = {(lane.queue, lane.priority): lane for lane in discover_lanes.lanes}
    assert len(found) == len(discover_lanes.lanes)
    assert discover_lanes.paused == {"a"}
    assert found.keys() == {(job.queue, job.priority) for job in jobs}
    for place, lane in found.items():
        times = [job.run_at for job in jobs if (job.queue, job.priority) == place]
        assert lane.next_run_at == min(times)
        assert lane.mark is None
    for one, other in pairwise(discover_lanes.lanes):
        assert one.queue != other.queue or one.priority < other.priority


def test_a_survey_sees_waiting_jobs_only(store: Store, worker: Worker) -> None:
    fill(store, [row(state, base(state)) for state in JobState if state.finished])
    fill(store, [row(JobState.PROCESSING, MOMENT), row(JobState.SUCCEEDED, MOMENT)])
    assert worker.lanes() == []
    change(store, store.database.tables.job, state="Enqueued", server_id=None, queue="again")
    assert [lane.queue for lane in worker.lanes()] == ["again"]


def test_filters_that_no_name_can_equal(store: Store) -> None:
    store.jobs.insert(new_job(recurring_id="nightly"))
    for text in ("\0", "\ud800", "a\0", "", "'; --", "%", "x" * 100_000):
        for state in (None, JobState.ENQUEUED, JobState.FAILED):
            assert store.jobs.page(state, queue=text).items == []
            assert store.jobs.page(state, task=text).items == []
            assert store.jobs.page(state, recurring_id=text).items == []


@pytest.mark.parametrize("state", [None, *LISTED, JobState.AWAITING])
@pytest.mark.parametrize(
    "filters", [{"task": "rare"}, {"queue": "rare"}, {"recurring_id": "r", "task": "rare"}]
)
def test_what_is_rare_is_found_by_looking_on(
    store: Store, state: JobState | None, filters: dict[str, str]
) -> None:
    """Each look sees some jobs only, and all together see all of them, in order, there and back."""
    rng = random.Random(7)
    states = list(JobState) if state is None else [state]
    rows = []
    for number in range(150):
        rare = number % 31 == 0
        one = rng.choice(states)
        values = {"priority": number % 3, "queue": "ab"[number % 2], "recurring_id": "r"}
        if rare:
            values |= {name: "rare" for name in filters if name != "recurring_id"}
        rows.append(row(one, base(one) + rng.randrange(40) * ONE, **values))
    fill(store, rows)
    wanted = expected(store.jobs.page(None, limit=500).items, state, **filters)
    look: dict[str, Any] = {"limit": 3, "look": 20, **filters}

    pages = [store.jobs.page(state, **look)]
    while pages[-1].older is not None:
        pages.append(store.jobs.page(state, before=pages[-1].older, **look))
    assert ids(pages) == wanted
    if state is not JobState.PROCESSING and (state, filters) not in WAITING_IN_A_QUEUE:
        assert pages[0].cut
        assert len(pages) > 5
    assert not pages[-1].cut

    last = pages[-1]
    back = [last]
    while back[-1].newer is not None:
        back.append(store.jobs.page(state, after=back[-1].newer, **look))
    assert ids(list(reversed(back))) == wanted


WAITING_IN_A_QUEUE = [
    (state, {"queue": "rare"}) for state in (JobState.ENQUEUED, JobState.SCHEDULED)
]
"""Which an index knows."""
