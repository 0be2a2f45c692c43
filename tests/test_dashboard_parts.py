"""The dashboard's parts by themselves: a job's timeline, charts, and how values look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_recurring import Attempt, Job, JobState
from flask_recurring.dashboard import format
from flask_recurring.dashboard.chart import round_up, run_bars, throughput
from flask_recurring.dashboard.timeline import WIDTH, Run, timeline
from flask_recurring.store import Minute

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NBSP = "\N{NO-BREAK SPACE}"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def job(state: JobState, **values: Any) -> Job:
    defaults: dict[str, Any] = {
        "id": 1,
        "task": "t",
        "args": (),
        "kwargs": {},
        "queue": "default",
        "priority": 0,
        "state": state,
        "created_at": START,
        "run_at": START,
        "started_at": None,
        "finished_at": None,
        "attempt": 0,
        "result": None,
        "error": None,
        "recurring_id": None,
        "due": None,
        "claim": 0,
        "server": None,
        "cancel_requested": False,
    }
    return Job(**(defaults | values))


def attempt(number: int, begin: float, end: float, retry: float | None, **values: Any) -> Attempt:
    defaults: dict[str, Any] = {
        "job_id": 1,
        "claim": number,
        "attempt": number,
        "outcome": "Failed",
        "started_at": at(begin),
        "finished_at": at(end),
        "server": "web",
        "error_type": "ValueError",
        "message": "no",
        "traceback": None,
        "retry_at": None if retry is None else at(retry),
    }
    return Attempt(**(defaults | values))


def kinds(run: Run) -> list[str]:
    return [span.kind for span in run.spans]


# -- the timeline


def test_a_run_that_succeeded_at_once() -> None:
    done = job(JobState.SUCCEEDED, started_at=at(2), finished_at=at(10), attempt=1, claim=1)
    found = timeline(done, [], at(99))
    (run,) = found.runs
    assert (run.waited, run.ran, run.planned) == (
        timedelta(seconds=2),
        timedelta(seconds=8),
        timedelta(0),
    )
    assert kinds(run) == ["waiting", "running"]
    assert [(span.x, span.width) for span in run.spans] == [(0.0, 200.0), (200.0, 800.0)]
    assert found.length == timedelta(seconds=10)
    assert not found.open


def test_delay_waiting_and_running_are_told_apart() -> None:
    done = job(
        JobState.FAILED, run_at=at(30), started_at=at(40), finished_at=at(50), attempt=2, claim=2
    )
    runs = timeline(done, [attempt(1, 1, 4, 30), attempt(2, 40, 50, None)], at(99)).runs
    assert [run.outcome for run in runs] == ["Failed", "Failed"]
    first, second = runs
    assert (first.waited, first.ran) == (timedelta(seconds=1), timedelta(seconds=3))
    assert (second.planned, second.waited, second.ran) == (
        timedelta(seconds=26),
        timedelta(seconds=10),
        timedelta(seconds=10),
    )
    assert kinds(second) == ["planned", "waiting", "running"]


def test_a_success_after_a_failure_has_a_lane_of_its_own() -> None:
    done = job(
        JobState.SUCCEEDED, run_at=at(30), started_at=at(31), finished_at=at(50), attempt=2, claim=2
    )
    runs = timeline(done, [attempt(1, 1, 4, 30)], at(99)).runs
    assert [(run.number, run.outcome) for run in runs] == [(1, "Failed"), (2, "Succeeded")]
    assert runs[1].waited == timedelta(seconds=1)


def test_what_is_to_come_is_a_lane_too() -> None:
    retrying = job(JobState.SCHEDULED, run_at=at(100), started_at=at(1), attempt=1, claim=1)
    runs = timeline(retrying, [attempt(1, 1, 4, 100)], at(10)).runs
    assert [(run.number, run.outcome) for run in runs] == [(1, "Failed"), (2, "Scheduled")]
    assert kinds(runs[1]) == ["planned"]
    assert runs[1].started_at is None
    waiting = timeline(job(JobState.ENQUEUED), [], at(7)).runs
    assert kinds(waiting[0]) == ["waiting"]


def test_a_running_job_looks_the_same_until_its_axis_grows() -> None:
    running = job(JobState.PROCESSING, started_at=at(1), attempt=1, claim=1)
    assert timeline(running, [], at(31)) == timeline(running, [], at(59))
    assert timeline(running, [], at(59)) != timeline(running, [], at(61))
    (run,) = timeline(running, [], at(31)).runs
    assert run.ran is None
    assert run.spans[-1].open
    assert run.spans[-1].x + run.spans[-1].width == WIDTH


def test_a_job_deleted_before_it_ran_has_no_run() -> None:
    assert timeline(job(JobState.DELETED, finished_at=at(5)), [], at(9)).runs == ()


@pytest.mark.parametrize("now", [0.0, 0.0001, 5.0, 1e5, 1e7])
def test_every_span_lies_on_the_axis_and_can_be_seen(now: float) -> None:
    """Whatever the clocks and the order of events say."""
    histories = [
        [],
        [attempt(1, 0, 0, 0)],
        [attempt(1, 1e4, 1e4 + 0.001, 2e4), attempt(2, 1e3, 1e3, None)],
        [attempt(1, -5, -1, -3), attempt(2, 1, 90_000, None, outcome="HandedBack")],
    ]
    for state in JobState:
        for history in histories:
            one = job(
                state,
                started_at=at(3) if state is not JobState.ENQUEUED else None,
                finished_at=at(3.0005) if state.finished else None,
                run_at=at(2),
                claim=9,
                attempt=1,
            )
            for run in timeline(one, history, at(now)).runs:
                for span in run.spans:
                    assert span.width >= 5
                    assert span.x >= -0.1
                    assert span.x + span.width <= WIDTH + 0.1


# -- charts


def test_a_single_failure_among_thousands_is_seen() -> None:
    chart = throughput([Minute(START, succeeded=9_000, failed=1), Minute(at(60))])
    assert chart.top == 10_000
    assert (chart.succeeded, chart.failed, chart.retried) == (9_000, 1, 0)
    (succeeded, failed), nothing = chart.bars[0].parts, chart.bars[1].parts
    assert succeeded[0] == "succeeded"
    assert failed[0] == "failed"
    assert failed[2] >= 1
    assert nothing == ()
    assert throughput([]).empty


def test_axes_end_at_round_numbers() -> None:
    assert [round_up(n) for n in (0, 4, 5, 6, 11, 21, 51, 100, 101)] == [
        4, 4, 5, 10, 20, 50, 100, 100, 200,
    ]  # fmt: skip


def test_past_runs_end_at_the_right() -> None:
    runs = [job(JobState.SUCCEEDED, started_at=at(n), finished_at=at(2 * n)) for n in (9, 4, 1)]
    bars = run_bars([job(JobState.ENQUEUED), *runs], places=5)
    assert [bar.x for bar in bars] == [20.0, 30.0, 40.0]
    assert bars[-1].height == 100.0
    assert bars[0].height < bars[1].height < bars[2].height


# -- how values look


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "<1 ms"),
        (0.34, "340 ms"),
        (0.9996, "1.0 s"),
        (1.24, "1.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (184, "3 min 04 s"),
        (3 * 3600 + 720, "3 h 12 min"),
        (86_400 * 4 + 3 * 3600, "4 d 03 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format.duration(seconds).replace(NBSP, " ") == text
    assert format.duration(timedelta(seconds=seconds)).replace(NBSP, " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "+<1ms"), (0.0004, "+<1ms"), (1.108, "+1.108s"), (75.5, "+1:15.5"), (3700, "+1:01:40.0")],
)
def test_offsets(seconds: float, text: str) -> None:
    assert format.offset(timedelta(seconds=seconds)) == text


def test_json_is_escaped_coloured_and_cut() -> None:
    shown = format.pretty_json({"<b>": ['"</script>', 1.5, None, True]})
    assert '<span class="json-key">&#34;&lt;b&gt;&#34;</span>' in shown
    assert "</script>" not in shown
    assert '<span class="json-number">1.5</span>' in shown
    assert '<span class="json-word">null</span>' in shown
    assert "more characters" in format.pretty_json("x" * 30_000)
    assert len(format.pretty_json("x" * 30_000)) < 21_000


def test_frames_in_libraries_stand_back() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/srv/app/<tasks>.py", line 1, in run\n    go()\n'
        '  File "/venv/site-packages/lib.py", line 2, in go\n    stop()\n'
        "ValueError: <x>"
    )
    shown = format.traceback_lines(text)
    assert shown.count("frame-quiet") == 2
    assert '<span class="frame">ValueError: &lt;x&gt;</span>' in shown
    assert "<tasks>" not in shown


def test_a_call_on_one_line() -> None:
    one = job(JobState.ENQUEUED, args=("a@b.c", 1), kwargs={"copies": [1, None]})
    assert format.one_line_call(one) == '"a@b.c", 1, copies=[1, null]'
    long = format.one_line_call(job(JobState.ENQUEUED, args=("x" * 500,)))
    assert len(long) == 120
    assert long.endswith("…")


def test_percentages() -> None:
    assert [format.percent(v) for v in (0, 42.5, 99.96, 100.0)] == ["0%", "42.5%", "100%", "100%"]
