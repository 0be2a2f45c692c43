"""The console: lines and bars, read back as they were written."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from flask_recurring._store import (
    ROW_LINES,
    ConsoleRow,
    NewLine,
    Store,
    lines_row,
    row_lines,
)
from flask_recurring._store.claim import Claimed
from flask_recurring._store.text import storable
from tests.store.samples import new_job, row_count
from tests.store.worker import Worker


@pytest.fixture
def run(store: Store, worker: Worker) -> Claimed:
    """A job that runs."""
    store.jobs.insert(new_job())
    return worker.claim_one()


def line(
    job: Claimed, seq: int, text: str = "a line", color: str | None = None, level: str | None = None
) -> ConsoleRow:
    return ConsoleRow(job.id, job.claim, seq, time.monotonic(), text, color, level, None)


def bar(job: Claimed, seq: int, value: float, name: str = "bar") -> ConsoleRow:
    return ConsoleRow(job.id, job.claim, seq, time.monotonic(), name, "red", None, float(value))


def test_lines_come_back_in_order(store: Store, worker: Worker, run: Claimed) -> None:
    before = store.now()
    worker.complete(
        entries=[line(run, 3, "c", "dark_red"), line(run, 1, "a"), line(run, 2, "", None, "INFO")]
    )
    lines = store.console.lines(run.id, run.claim)
    assert [(one.seq, one.text, one.color, one.level) for one in lines] == [
        (1, "a", None, None),
        (2, "", None, "INFO"),
        (3, "c", "dark_red", None),
    ]
    for one in lines:
        assert abs(one.at - before) < timedelta(seconds=2)


def test_a_line_bears_the_time_at_which_it_was_written(
    store: Store, worker: Worker, run: Claimed
) -> None:
    old = line(run, 1)
    old = old._replace(moment=old.moment - 300)
    worker.complete(entries=[old])
    worker.complete(entries=[line(run, 2)])
    first, second = store.console.lines(run.id, run.claim)
    assert abs(second.at - first.at - timedelta(seconds=300)) < timedelta(seconds=2)


def test_the_tail_of_a_console(store: Store, worker: Worker, run: Claimed) -> None:
    worker.complete(entries=[line(run, seq, f"line {seq}") for seq in range(1, 1_201)])
    seen, after = 0, 0
    while lines := store.console.lines(run.id, run.claim, after=after, limit=500):
        assert [one.seq for one in lines] == list(range(after + 1, after + 1 + len(lines)))
        seen, after = seen + len(lines), lines[-1].seq
    assert seen == 1_200
    assert len(store.console.lines(run.id, run.claim)) == 1_000
    assert store.console.lines(run.id, run.claim, after=1_200) == []
    worker.complete(entries=[line(run, 1_201, "one more")])
    assert [one.text for one in store.console.lines(run.id, run.claim, after=1_200)] == ["one more"]


def test_lines_that_come_together_share_a_row(store: Store, worker: Worker, run: Claimed) -> None:
    moment = time.monotonic()
    given = [
        NewLine(moment, "first", "red", None),
        NewLine(moment + 1.5, 'a "second", \\ ü', None, None),
        NewLine(moment + 2, "", None, "INFO"),
        NewLine(moment + 2, "last", "blue", "ERROR"),
    ]
    entry = lines_row(run.id, run.claim, 7, given)
    assert [line._replace(moment=0) for line in row_lines(entry)] == [
        line._replace(moment=0) for line in given
    ]
    worker.complete(entries=[entry, line(run, 11, "alone")])
    assert row_count(store, store.database.tables.console) == 2
    lines = store.console.lines(run.id, run.claim)
    assert [(one.seq, one.text, one.color, one.level) for one in lines] == [
        (7, "first", "red", None),
        (8, 'a "second", \\ ü', None, None),
        (9, "", None, "INFO"),
        (10, "last", "blue", "ERROR"),
        (11, "alone", None, None),
    ]
    assert [(one.at - lines[0].at).total_seconds() for one in lines[:4]] == [0, 1.5, 2, 2]


def test_the_tail_may_begin_and_end_within_a_row(
    store: Store, worker: Worker, run: Claimed
) -> None:
    for seq in range(1, 2 * ROW_LINES, ROW_LINES):
        given = [NewLine(time.monotonic(), str(seq + n), None, None) for n in range(ROW_LINES)]
        worker.complete(entries=[lines_row(run.id, run.claim, seq, given)])
    for after in (0, 1, ROW_LINES - 1, ROW_LINES, ROW_LINES + 1, 2 * ROW_LINES - 1, 2 * ROW_LINES):
        for limit in (1, 5, 1_000):
            lines = store.console.lines(run.id, run.claim, after, limit)
            expected = range(after + 1, min(2 * ROW_LINES, after + limit) + 1)
            assert [(one.seq, one.text) for one in lines] == [(n, str(n)) for n in expected]


def test_what_is_read_stood_so_at_one_moment(store: Store, run: Claimed) -> None:
    writer = Worker(store, name="writer")
    stopped = threading.Event()

    def write() -> None:
        for seq in range(1, 3_000, 2):
            if stopped.is_set():
                break
            writer.complete(entries=[line(run, seq), bar(run, seq + 1, 0)])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        # Whoever goes on after the last row that is here misses nothing.
        while thread.is_alive() and (found := store.console.read(run.id, run.claim, limit=9_999)):
            numbers = sorted([*(one.seq for one in found.lines), *(one.seq for one in found.bars)])
            assert numbers == list(range(1, len(numbers) + 1))
            if len(numbers) > 400:
                break
    finally:
        stopped.set()
        thread.join()
        writer.close()


def test_no_line_is_told_to_be_earlier_than_the_one_before(
    store: Store, worker: Worker, run: Claimed
) -> None:
    late = line(run, 1)
    early = line(run, 2)
    worker.complete(entries=[late, early._replace(moment=early.moment - 10)])
    first, second = store.console.lines(run.id, run.claim)
    assert first.at == second.at


def test_each_claim_has_a_console_of_its_own(store: Store, worker: Worker, run: Claimed) -> None:
    assert store.console.claims(run.id) == []
    worker.complete(entries=[line(run, 1, "first")])
    worker.release(run)
    again = worker.claim_one()
    worker.complete(entries=[line(again, 1, "second"), bar(again, 2, 5)])
    assert store.console.claims(run.id) == [1, 2]
    assert [one.text for one in store.console.lines(run.id, 1)] == ["first"]
    assert [one.text for one in store.console.lines(run.id, 2)] == ["second"]
    assert store.console.bars(run.id, 1) == []
    assert store.console.lines(run.id, 3) == []
    assert store.console.lines(run.id + 1, 1) == []


def test_the_last_value_of_a_bar_wins(store: Store, worker: Worker, run: Claimed) -> None:
    worker.complete(entries=[bar(run, 1, value) for value in (0, 10, 33.3)] + [bar(run, 2, 0, "b")])
    assert [(one.seq, one.name, one.value) for one in store.console.bars(run.id, run.claim)] == [
        (1, "bar", 33.3),
        (2, "b", 0.0),
    ]
    worker.complete(entries=[bar(run, 2, 7, "b"), line(run, 3), bar(run, 1, 100.0)])
    first, second = store.console.bars(run.id, run.claim)
    assert (first.value, first.color, second.value) == (100.0, "red", 7.0)
    # A bar that goes back goes back.
    worker.complete(entries=[bar(run, 1, 50), bar(run, 1, 20)])
    assert store.console.bars(run.id, run.claim)[0].value == 20.0
    assert [one.seq for one in store.console.lines(run.id, run.claim)] == [3]


def test_lines_that_are_written_again_are_not_doubled(
    store: Store, worker: Worker, run: Claimed
) -> None:
    entries = [line(run, 1, "a"), bar(run, 2, 10), line(run, 3, "c")]
    worker.complete(entries=entries)
    before = store.console.lines(run.id, run.claim)
    worker.complete(entries=[*entries, line(run, 4, "d")])
    lines = store.console.lines(run.id, run.claim)
    assert lines[:2] == before
    assert [one.text for one in lines] == ["a", "c", "d"]


def test_lines_of_a_run_that_is_over_are_kept(store: Store, worker: Worker, run: Claimed) -> None:
    worker.succeed(run)
    worker.complete(entries=[line(run, 1, "a last word")])
    assert [one.text for one in store.console.lines(run.id, run.claim)] == ["a last word"]


TEXTS = [
    "a\0b\0\0",
    "\ud800 half \udfff",
    "\0\udc00ü",
    "\x01\x1b[31m\x7f\u2028\ufffe\U0010ffff",
    "'; DROP TABLE job; --",
    '\\" \\u0000 \\',
    "{a,NULL}",
    "%s %(x)s $1 :p ?",
    "",
    " \n\r\t ",
    "x" * 1_048_576,
    "ü\0" * 200_000,
]


def test_any_text_can_be_written_once_it_is_storable(
    store: Store, worker: Worker, run: Claimed
) -> None:
    for number, text in enumerate(TEXTS):
        kept = storable(text)
        assert len(kept) == len(text)
        seq = 2 * number + 1
        worker.complete(entries=[line(run, seq, kept), bar(run, seq + 1, 1.5, kept)])
        assert store.console.lines(run.id, run.claim)[-1].text == kept
        assert store.console.bars(run.id, run.claim)[-1].name == kept


def test_storable_text_is_cut_with_a_mark() -> None:
    assert storable("abcdef", 6) == "abcdef"
    assert storable("abcdefg", 6) == "abcde…"
    assert storable("ä\0\ud800", 2) == "ä…"
    assert storable("") == ""


def test_numbers_that_no_job_has(store: Store) -> None:
    for number in (-1, 2**31, 2**63, 10**30):
        assert store.console.lines(number, 1) == []
        assert store.console.lines(1, number) == []
        assert store.console.lines(1, 1, after=number) == []
        assert store.console.bars(number, number) == []
        assert store.console.claims(number) == []
