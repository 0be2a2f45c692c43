"""Waiting for a condition with a deadline, in place of a sleep that hopes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(
    condition: Callable[[], T],
    timeout: float = 10.0,
    message: str | Callable[[], str] = "",
    interval: float = 0.02,
) -> T:
    """Ask ``condition`` until it answers something true, and return that.

    :param timeout: seconds until giving up; the condition is asked at least once.
    :param message: what was waited for; a callable is asked only when time has run out, so that it
        can tell the state at that moment.
    :param interval: seconds between two questions.
    :raises AssertionError: when the time has run out. What the condition itself raises passes
        through.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            what = message() if callable(message) else message
            name = getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(
                f"{what or name} did not come true within {timeout:g} s (last answer: {answer!r})"
            )
        time.sleep(interval)
