"""The tools for tests with real processes."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.processes import Spawn, free_port
from tests.requirement import missing
from tests.waiting import wait_for


def test_wait_for_returns_what_came_true() -> None:
    answers = iter([0, None, "yes"])

    assert wait_for(lambda: next(answers)) == "yes"


def test_wait_for_tells_what_it_waited_for() -> None:
    with pytest.raises(AssertionError, match=r"rain did not come true within 0 s \(last answer: 0"):
        wait_for(lambda: 0, timeout=0, message="rain")


def test_process_answers_on_its_port_and_stops_in_order(spawn: Spawn) -> None:
    port = free_port()
    process = spawn([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"])

    process.wait_for_port(port)

    assert process.exit_code is None
    assert process.stop() == -signal.SIGTERM


def test_process_that_ends_too_early_shows_its_output(spawn: Spawn) -> None:
    process = spawn([sys.executable, "-c", "print('no luck'); raise SystemExit(3)"])

    with pytest.raises(AssertionError, match=r"(?s)exit code 3 before .*no luck"):
        process.wait_for_line("ready")


def test_process_takes_variables_and_loses_them(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE_OLD", "old")
    show = "import os; print(os.environ.get('PROBE_OLD'), os.environ['PROBE_NEW'])"
    process = spawn([sys.executable, "-c", show], env={"PROBE_OLD": None, "PROBE_NEW": "new"})

    assert process.wait() == 0
    assert process.output() == "None new\n"


def test_missing_things_skip_unless_they_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECURRING_TEST_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such thing"):
        missing("no such thing")

    monkeypatch.setenv("RECURRING_TEST_REQUIRE", "1")
    with pytest.raises(pytest.fail.Exception, match="no such thing"):
        missing("no such thing")
