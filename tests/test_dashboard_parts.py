"""The dashboard's parts by themselves: a job's timeline, charts, and how values look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flask_recurring import Attempt, Job, JobState
from flask_recurring._dashboard import format
from flask_recurring._dashboard.chart import round_up, throughput
from flask_recurring._dashboard.due_times import following
from flask_recurring._dashboard.form_input import INPUTS
from flask_recurring._dashboard.runs import LOWEST, strip
from flask_recurring._dashboard.timeline import WIDTH, Run, timeline
from flask_recurring._recurring.options import OVERRIDABLE, checked
from flask_recurring._recurring.recurring_job import Tick, TickResult
from flask_recurring._recurring.schedule import Schedule
from flask_recurring._store import Minute
from flask_recurring.errors import ConfigurationError
from flask_recurring.retry import RetryPolicy

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


def outcome(what: str, state: JobState | None = None, took: float | None = None) -> TickResult:
    tick = Tick(
        recurring_id="nightly",
        due=None if what == "triggered" else START,
        outcome=what,
        reason=None,
        job_id=None if what in ("skipped", "missed") else 1,
        created_at=START,
    )
    started, finished = (None, None) if took is None else (START, at(took))
    return TickResult(
        tick=tick,
        state=state,
        started_at=started,
        finished_at=finished,
        lateness=None,
        duration=took,
    )


def test_past_runs_end_at_the_right() -> None:
    history = [outcome("run", JobState.SUCCEEDED, took) for took in (9, 4, 1, 0)]
    heights = [bar.height for bar in strip(history).bars]
    assert heights == sorted(heights)
    assert heights[0] == LOWEST
    assert heights[-1] == 100.0
    assert all(bar.y + bar.height == pytest.approx(100.0) for bar in strip(history).bars)


def test_each_kind_of_entry_has_a_bar_of_its_own() -> None:
    history = [
        outcome("run", JobState.PROCESSING),
        outcome("run", JobState.SCHEDULED),
        outcome("triggered", JobState.FAILED, 2.0),
        outcome("skipped"),
        outcome("missed"),
        outcome("run"),  # its job is gone
        outcome("run", JobState.DELETED),
    ]
    found = strip(history)
    assert [bar.kind for bar in found.bars] == [
        *("deleted", "gone", "missed", "skipped", "failed", "waiting", "processing"),
    ]
    assert [bar.by_hand for bar in found.bars].count(True) == found.by_hand == 1
    assert {kind for kind, _, count in found.counts if count == 1} == {
        bar.kind for bar in found.bars
    }
    assert strip([]).bars == ()


# -- options as text


VIENNA = ZoneInfo("Europe/Vienna")


@pytest.mark.parametrize(
    ("name", "json", "text"),
    [
        ("cron", "@every 90s", "@every 90s"),
        ("jitter", 0.0, ""),
        ("jitter", 300.0, "5m"),
        ("jitter", 90.0, "90s"),
        ("timeout", None, ""),
        ("timeout", 0.25, "0.25s"),
        ("misfire_grace", 0.0, "0s"),
        ("misfire_grace", 86_400.0, "1d"),
        ("keep", None, ""),
        ("keep", 20, "20"),
        ("retry", None, ""),
        ("retry", RetryPolicy(attempts=3).to_json(), "3"),
        ("retry", RetryPolicy(attempts=3, delays=(10.0, 60.0)).to_json(), "10s, 1m, 1m"),
        ("start", "2031-07-01T06:00:00+00:00", "2031-07-01T08:00:00"),
        ("paused", True, "yes"),
        ("priority", -3, "-3"),
        ("misfire", "all", "all"),
    ],
)
def test_an_option_as_text_and_back(name: str, json: Any, text: str) -> None:
    one = INPUTS[name]
    assert one.text(json, VIENNA) == text
    again = checked({name: one.read(text, VIENNA)})[name]
    assert one.text(again, VIENNA) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cron", "61 * * * *"),
        ("cron", ""),
        ("timezone", "Mars/Olympus"),
        ("start", "tomorrow"),
        ("jitter", "soon"),
        ("jitter", "-5s"),
        ("jitter", "2d"),
        ("misfire_grace", ""),
        ("misfire_limit", "many"),
        ("misfire_limit", "9" * 30),
        ("keep", "0"),
        ("keep", "1.5"),
        ("misfire", "never"),
        ("overlap", ""),
        ("queue", "Not a queue"),
        ("priority", "99999"),
        ("retry", "often"),
        ("retry", "-1"),
        ("timeout", "0"),
    ],
)
def test_wrong_text_is_refused_with_the_option_named(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"(?i)\b{name}"):
        checked({name: INPUTS[name].read(text, VIENNA)})


def test_every_option_that_can_be_overridden_is_in_the_form() -> None:
    assert set(INPUTS) == OVERRIDABLE.keys() - {"every"}
    for name, one in INPUTS.items():
        assert (one.none is not None) == (one.option.optional or name == "paused")
        assert [value for value, _ in one.choices] == list(one.option.choices or [])


def test_ticks_ahead_on_the_clocks_of_the_zone() -> None:
    schedule = Schedule("30 2 * * *", "Europe/Vienna")
    ticks = following(schedule, datetime(2031, 10, 24, 12, tzinfo=UTC))
    assert [(tick.day, tick.clock, tick.zone) for tick in ticks][:3] == [
        ("Sat 2031-10-25", "02:30:00", "CEST"),
        ("Sun 2031-10-26", "02:30:00", "CEST"),
        ("Mon 2031-10-27", "02:30:00", "CET"),
    ]
    assert len(ticks) == 5
    (first, *_) = following(Schedule("@every 0.25s"), datetime(2031, 1, 1, tzinfo=UTC))
    assert first.clock == "00:00:00.250"


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
