"""Figures that all viewers of a process share for a moment.

Twenty open tabs ask for the same counts ten times a second. One of them asks the database, those
that come meanwhile wait for its answer, and those that come in the second after get the same.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

KEPT = 1.0
"""Seconds that an answer is given to others, from when it came."""

MOST = 64
"""Answers that are kept: those asked for last."""


class _BrokenOff(Exception):
    """Who was asking has to end before the answer came."""


class Shared:
    """Answers by what was asked. An error goes to those who wait for the answer, and to no others.

    :param resting: called before one waits for another's answer, to let go what that one may need.
    """

    def __init__(self, resting: Callable[[], None] = lambda: None) -> None:
        self._resting = resting
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[float, Future[Any]]] = OrderedDict()

    def get(self, question: Hashable, ask: Callable[[], T]) -> T:
        """The answer to a question: a fresh one, one that is under way, or what ``ask`` says."""
        while True:
            answer, asking = self._find(question)
            if asking:
                self._ask(question, ask, answer)
            elif not answer.done():
                self._resting()
            try:
                found: T = answer.result()
            except _BrokenOff:
                continue
            return found

    def _find(self, question: Hashable) -> tuple[Future[Any], bool]:
        """The answer that there is, or is to come; and whether the caller has to ask for it."""
        if self._process != os.getpid():
            self._begin()  # who was asking stayed in the parent process
        with self._lock:
            until, answer = self._answers.get(question, (0.0, None))
            if answer is not None and time.monotonic() < until:
                self._answers.move_to_end(question)
                return answer, False
            answer = Future()
            self._answers[question] = (math.inf, answer)
            self._answers.move_to_end(question)
            if len(self._answers) > MOST:
                self._answers.popitem(last=False)
            return answer, True

    def _ask(self, question: Hashable, ask: Callable[[], T], answer: Future[T]) -> None:
        try:
            found = ask()
        except BaseException as error:
            self._complete(question, answer, 0.0)
            if isinstance(error, Exception):
                answer.set_exception(error)
                return
            # The thread is to end, and not those that wait for it: one of them asks anew.
            answer.set_exception(_BrokenOff())
            raise
        else:
            self._complete(question, answer, time.monotonic() + KEPT)
            answer.set_result(found)

    def _complete(self, question: Hashable, answer: Future[Any], until: float) -> None:
        with self._lock:
            # Unless it was forgotten meanwhile, and perhaps asked for again.
            if self._answers.get(question, (0.0, None))[1] is answer:
                self._answers[question] = (until, answer)

    def forget(self) -> None:
        """Something was changed from here: whoever asks now is to see it."""
        with self._lock:
            self._answers.clear()
