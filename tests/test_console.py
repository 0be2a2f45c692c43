"""A run's console: lines, bars, limits, and what comes by logging."""

from __future__ import annotations

import gc
import threading

import pytest

from flask_recurring import COLORS, JobContext, JobState, Scheduler, current_job
from flask_recurring._run.console import CUT, Console
from flask_recurring._run.terminal import Terminal
from flask_recurring._store import ConsoleRow, row_lines
from tests.applications import Applications, job_of, lines_of, store_of, wait_for_job
from tests.sheet import Sheet
from tests.waiting import wait_for


def make_console(sheet: Sheet, *, lines: int = 100, bytes: int = 10_000) -> Console:
    return Console(sheet, 1, 1, max_lines=lines, max_bytes=bytes)


# -- limits


def test_lines_beyond_the_limit_are_cut_with_one_mark() -> None:
    sheet = Sheet()
    console = make_console(sheet, lines=3)

    for number in range(10):
        console.write(f"line {number}")

    assert sheet.texts == ["line 0", "line 1", "line 2", CUT]
    assert sheet.entries[-1].color == "yellow"


def test_mark_comes_only_when_something_is_left_out() -> None:
    sheet = Sheet()
    console = make_console(sheet, lines=2, bytes=2)

    console.write("a")
    console.write("b")
    assert sheet.texts == ["a", "b"]
    console.write("c")
    console.write("d")
    console.bar("e", None)(5)
    assert sheet.texts == ["a", "b", CUT]


def test_bar_that_finds_no_place_is_told_of_too() -> None:
    sheet = Sheet()
    console = make_console(sheet, lines=2)

    console.write("a")
    console.bar("b", None)
    console.bar("c", None)(5)

    assert [(entry.text, entry.progress) for entry in sheet.entries] == [
        ("a", None),
        ("b", 0),
        (CUT, None),
    ]


class Odd(str):
    """A text that stays what it is."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


def test_texts_of_a_class_of_their_own_and_odd_levels_are_kept_as_plain_ones() -> None:
    class Slow:
        def wrote(self, console: Console, *, much: bool) -> None: ...

    console = Console(Slow(), 1, 1, max_lines=10, max_bytes=1000)
    console.write("first")
    console.write(Odd("second"), Odd("red"), Odd("A\0B" + 50 * "x"))
    console.bar(Odd("bar"), Odd("blue"))

    lines, bar = console.take()
    second = list(row_lines(lines))[1]
    assert (second.text, second.color) == ("second", "red")
    assert second.level is not None
    assert second.level.startswith("A␀B")
    assert len(second.level) == 30
    assert {type(text) for text in (bar.text, bar.color)} == {str}


def test_bytes_beyond_the_limit_are_cut_within_a_line() -> None:
    sheet = Sheet()
    console = make_console(sheet, bytes=10)

    console.write("12345")
    console.write("67890abc")
    console.write("more")

    assert sheet.texts == ["12345", "67890", CUT]


def test_cut_never_divides_a_character() -> None:
    sheet = Sheet()

    make_console(sheet, bytes=5).write("äöü")

    assert sheet.texts == ["äö", CUT]


def test_line_of_many_megabytes_costs_no_more_than_what_is_kept() -> None:
    sheet = Sheet()

    make_console(sheet, bytes=1000).write("x" * 50_000_000)

    assert [len(text) for text in sheet.texts] == [1000, len(CUT)]


def test_bars_count_as_lines_and_stand_still_beyond_the_limit() -> None:
    sheet = Sheet()
    console = make_console(sheet, lines=2)

    first, second, third = (console.bar(f"bar {number}", None, number) for number in range(3))
    for put in (first, second, third):
        put(50)
    console.write("line")

    assert [(entry.seq, entry.text, entry.progress) for entry in sheet.entries] == [
        (1, "bar 0", 0),
        (2, "bar 1", 1),
        (3, CUT, None),
        (1, "bar 0", 50),
        (2, "bar 1", 50),
    ]


def test_lines_that_were_not_taken_yet_are_taken_together() -> None:
    told: list[bool] = []

    class Slow:
        def wrote(self, console: Console, *, much: bool) -> None:
            told.append(much)

    console = Console(Slow(), 7, 2, max_lines=1_000, max_bytes=10**6)
    for number in range(120):
        console.write(f"line {number}")
    bar = console.bar("bar", None)
    bar(1)
    bar(2)
    console.write("after the bar")

    entries = console.take()
    assert told == [False, True, True]  # at first, and when there is much
    assert [(entry.seq, entry.progress, len(list(row_lines(entry)))) for entry in entries] == [
        (1, None, 100),
        (101, None, 20),
        (121, 2, 1),
        (122, None, 1),
    ]
    assert console.take() == []
    console.write("x" * 100_000)
    console.write("y")
    assert [entry.seq for entry in console.take()] == [123, 124]
    assert told == [False, True, True, False]


class Loud:
    """Something that logs, in a way, when the collector finds it in its cycle."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.itself = self

    def __del__(self) -> None:
        self.console.write("unclosed")


def test_finalizers_may_write_in_the_middle_of_a_line() -> None:
    class Slow:
        def wrote(self, console: Console, *, much: bool) -> None: ...

    console = Console(Slow(), 1, 1, max_lines=1_000_000, max_bytes=10**9)
    count = 0

    def work() -> None:
        nonlocal count
        before = gc.get_threshold()
        gc.set_threshold(7)
        try:
            for number in range(3_000):
                Loud(console)
                console.write(f"line {number}")
                if number % 100 == 0:
                    console.bar("bar", None)(1)
                if number % 500 == 0:
                    count += len(numbers(console.take()))
        finally:
            gc.set_threshold(*before)

    def numbers(entries: list[ConsoleRow]) -> list[int]:
        found = [
            entry.seq + place
            for entry in entries
            for place, _ in enumerate(row_lines(entry) if entry.progress is None else [entry])
        ]
        assert found == sorted(set(found))
        return found

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    gc.collect()
    count += len(numbers(console.take()))
    assert count == 3_000 + 3_000 + 30


def test_text_is_made_storable() -> None:
    sheet = Sheet()
    console = make_console(sheet)

    console.write("nul \0, half a pair \ud800")
    console.bar("n" * 500, None)(1)

    assert "\0" not in sheet.texts[0]
    sheet.texts[0].encode()
    assert len(sheet.texts[1]) == 200


def test_threads_of_a_run_share_one_numbering() -> None:
    sheet = Sheet()
    console = make_console(sheet, lines=10_000, bytes=10**6)

    def write() -> None:
        for _ in range(500):
            console.write("x")

    threads = [threading.Thread(target=write) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(entry.seq for entry in sheet.entries) == list(range(1, 2001))


def test_all_colours_are_taken() -> None:
    sheet = Sheet()
    console = make_console(sheet)

    for color in sorted(COLORS):
        console.write("x", color)

    assert len(COLORS) == 16
    assert {entry.color for entry in sheet.entries} == COLORS


def test_terminal_is_not_commanded_by_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(Terminal(), 0, 0, max_lines=10, max_bytes=1000)

    console.write("two\n\tlines \x1b]0;title\x07 \x1b[2J\r\x9b\u202egnp.exe")
    console.bar("bar\n\x1b[31m", None, 12.5)

    assert capsys.readouterr().out == (
        "two\n\tlines \\x1b]0;title\\x07 \\x1b[2J\\r\\x9b\\u202egnp.exe\nbar\\n\\x1b[31m: 12.5 %\n"
    )


def test_terminal_prints(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(Terminal(), 0, 0, max_lines=10, max_bytes=100)

    console.write("line")
    console.bar("", None, 12.5)

    assert capsys.readouterr().out == "line\nprogress: 12.5 %\n"


# -- in a run


def test_console_is_there_when_the_end_is(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def work(context: JobContext) -> None:
        for number in range(120):
            context.write_line(number)
        for _ in context.track(range(10), name="bar"):
            pass

    app = apps.make(scheduler, database_url)
    apps.start(app)

    for _ in range(5):
        job = wait_for_job(app, work.enqueue())
        assert lines_of(app, job) == [str(number) for number in range(120)]
        (bar,) = store_of(app).console.bars(job.id, job.claim)
        assert (bar.name, bar.value) == ("bar", 100)


def test_console_is_seen_while_the_run_goes_on(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()
    seen = threading.Event()

    @scheduler.task()
    def work(context: JobContext) -> None:
        context.write_line("begun", color="green")
        bar = context.progress_bar("bar")
        bar.set(33)
        assert seen.wait(10)
        bar.set(66)

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = work.enqueue()

    wait_for(lambda: lines_of(app, job) == ["begun"], timeout=3)
    running = job_of(app, job)
    assert running.state is JobState.PROCESSING
    wait_for(lambda: [bar.value for bar in store_of(app).console.bars(job.id, 1)] == [33])
    seen.set()
    wait_for_job(app, job)
    assert [bar.value for bar in store_of(app).console.bars(job.id, 1)] == [66]


def test_ten_megabytes_are_cut_with_a_mark_and_the_job_succeeds(
    apps: Applications, database_url: str
) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def work(context: JobContext) -> str:
        for _ in range(1000):
            context.write_line("x" * 10_240)
        return "done"

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = wait_for_job(app, work.enqueue(), timeout=20)

    lines = lines_of(app, job)
    assert (job.state, job.result) == (JobState.SUCCEEDED, "done")
    assert sum(map(len, lines[:-1])) == 1_048_576
    assert lines[-1] == CUT


def test_settings_limit_the_console(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task()
    def work(context: JobContext) -> None:
        for number in range(10):
            context.write_line(number)

    app = apps.make(scheduler, sqlite_url, console_max_lines=4)
    apps.start(app)

    assert lines_of(app, wait_for_job(app, work.enqueue())) == ["0", "1", "2", "3", CUT]


def test_each_attempt_has_a_console_of_its_own(apps: Applications, database_url: str) -> None:
    scheduler = Scheduler()

    @scheduler.task(retry=[0, 0])
    def work() -> None:
        current_job.write_line("attempt", current_job.attempt)
        raise ValueError("no")

    app = apps.make(scheduler, database_url)
    apps.start(app)
    job = wait_for_job(app, work.enqueue())

    console = store_of(app).console
    assert console.claims(job.id) == [1, 2, 3]
    for claim in (1, 2, 3):
        first = console.lines(job.id, claim)[0]
        assert first.text == f"attempt {claim}"
