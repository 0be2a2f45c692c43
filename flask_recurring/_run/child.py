"""How a process leaves that a job has forked, when it comes back from the job's function.

``os.fork`` copies the thread that runs the job, with all that called the function. The copy must
not return there: it would tell how the run ended, close connections that are its parent's, and then
wait for jobs as a worker that nobody knows of. So it ends where the function ends, with the exit
code that a program would have. Children of ``multiprocessing`` never come back.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class Forks:
    """Counts the forks that lead to this process: it is another one when the number is.

    To ask the system for the process's id costs a run more than to look here.
    """

    count = 0


def _forked() -> None:
    Forks.count += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def leave(error: BaseException | None) -> NoReturn:
    """End this process: with 0 after a return, what ``sys.exit`` was given, or 1 and a traceback.

    :param error: what the function raised; None if it returned.
    """
    code = 1
    with contextlib.suppress(BaseException):
        code = _exit_code(error)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    os._exit(code)


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
        return 1
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1


async def without_children(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await it; a child that it forks does not come back to the event loop, which it shares."""
    forks = Forks.count
    try:
        return await coroutine
    finally:
        if Forks.count != forks:
            leave(sys.exception())
