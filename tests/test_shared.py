"""Figures that viewers share: one asks, the others wait; errors are told, and not kept."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable

import pytest

from flask_recurring._dashboard.shared import MOST, Shared
from tests.store.race import race


class Slow:
    """An answer that comes when it is let go."""

    def __init__(self, answer: Callable[[], int]) -> None:
        self.asked = 0
        self.begun = threading.Event()
        self.go = threading.Event()
        self._answer = answer

    def __call__(self) -> int:
        self.asked += 1
        self.begun.set()
        assert self.go.wait(10)
        return self._answer()


def test_those_who_come_meanwhile_wait_for_the_same_answer() -> None:
    slow = Slow(lambda: 7)
    waiting = threading.Semaphore(0)
    shared = Shared(resting=waiting.release)

    def view(number: int) -> int:
        if number == 0:
            for _ in range(4):
                assert waiting.acquire(timeout=10)
            slow.go.set()
            return 7
        return shared.get("counts", slow)

    assert race(6, view) == [7] * 6
    assert slow.asked == 1
    assert shared.get("counts", lambda: 8) == 7


def test_an_error_goes_to_those_who_wait_and_is_not_kept() -> None:
    def fail() -> int:
        raise ConnectionError("away")

    slow = Slow(fail)
    waiting = threading.Semaphore(0)
    shared = Shared(resting=waiting.release)

    def view(number: int) -> str:
        if number == 0:
            for _ in range(2):
                assert waiting.acquire(timeout=10)
            slow.go.set()
            return "away"
        with pytest.raises(ConnectionError) as caught:
            shared.get("counts", slow)
        return str(caught.value)

    assert race(4, view) == ["away"] * 4
    assert slow.asked == 1
    assert shared.get("counts", lambda: 8) == 8


def test_one_that_has_to_end_takes_nobody_along() -> None:
    def end() -> int:
        raise SystemExit

    slow = Slow(end)
    waiting = threading.Event()
    shared = Shared(resting=waiting.set)

    def view(number: int) -> int:
        if number == 0:
            with pytest.raises(SystemExit):
                shared.get("counts", slow)
            return 8
        assert slow.begun.wait(10)
        if number == 1:
            assert waiting.wait(10)
            slow.go.set()
            return 8
        return shared.get("counts", lambda: 8)

    assert race(3, view) == [8] * 3


def test_what_was_forgotten_is_asked_for_anew_even_if_it_was_under_way() -> None:
    slow = Slow(lambda: 1)
    shared = Shared()

    def view(number: int) -> int:
        if number == 0:
            return shared.get("counts", slow)
        assert slow.begun.wait(10)
        shared.forget()
        assert shared.get("counts", lambda: 2) == 2
        slow.go.set()
        return 1

    assert race(2, view) == [1, 1]
    assert shared.get("counts", lambda: 3) == 2, "the old answer doesn't take the new one's place"


def test_few_answers_are_kept() -> None:
    shared = Shared()
    for number in range(MOST + 1):
        shared.get(number, lambda number=number: number)  # type: ignore[misc]
    assert shared.get(MOST, lambda: -1) == MOST
    assert shared.get(0, lambda: -1) == -1


def test_a_child_process_waits_for_nobody_in_its_parent() -> None:
    slow = Slow(lambda: 1)
    shared = Shared()
    asking = threading.Thread(target=shared.get, args=("counts", slow))
    asking.start()
    assert slow.begun.wait(10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = os.fork()
    if child == 0:
        os._exit(shared.get("counts", lambda: 5))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    slow.go.set()
    asking.join()
