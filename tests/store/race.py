"""Several threads that begin at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def race(count: int, run: Callable[[int], T], timeout: float = 30.0) -> list[T]:
    """Call ``run(0)``, ``run(1)``, … on a thread each, all at once, and return what they return.

    What one of them raises is raised here, after all have ended.

    :param timeout: seconds that the slowest may take to begin.
    """
    barrier = threading.Barrier(count, timeout=timeout)

    def begin(number: int) -> T:
        barrier.wait()
        return run(number)

    with ThreadPoolExecutor(count) as threads:
        futures = [threads.submit(begin, number) for number in range(count)]
    return [future.result() for future in futures]
