"""The end of a process that has servers: they are stopped in order, whatever ends it.

They are stopped before the interpreter waits for threads and takes executors away, so that jobs can
use both until they are done.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 (see _at_exit)
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from . import uwsgi


class Servers(Protocol):
    """All servers of this process."""

    @property
    def begun(self) -> bool:
        """True if one of them was started."""

    def stop(self) -> None:
        """Stop them in order."""

    def hurry(self) -> None:
        """Cut the time that a stop under way gives to runs."""


class Ending:
    """Stops the servers of this process when it ends."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._arranged = False

    def arrange(self) -> None:
        """Prepare for the end of this process; to be called whenever an application is set up."""
        if not self._arranged:
            self._arranged = True
            _at_exit(self._servers.stop)
        if threading.current_thread() is not threading.main_thread() or uwsgi.module() is not None:
            return
        handler = signal.getsignal(signal.SIGTERM)
        with contextlib.suppress(ValueError, OSError):
            if handler is signal.SIG_DFL:
                # It would end the process at once.
                signal.signal(signal.SIGTERM, self._on_sigterm)
            elif callable(handler) and _ends_by_the_signal(handler):
                signal.signal(signal.SIGTERM, _Relay(self._servers, handler))

    def after_fork(self) -> None:
        """In a child process that has no server: let whoever started it end it as any other."""
        if self._servers.begun and signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> Any:
        if self._servers.begun:
            # Unwinds the server's loop like any exit; the end of the process does the rest.
            raise SystemExit(128 + number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _ends_by_the_signal(handler: object) -> bool:
    """True for the handler of a web server that shuts down and then sends itself the signal again.

    That ends the process at once, and nothing runs afterwards. All other web servers end in order.
    """
    return type(getattr(handler, "__self__", None)).__module__ == "uvicorn.server"


class _Relay:
    """Stops the servers at SIGTERM, and tells the web server only then.

    A second signal hurries the stop.
    """

    def __init__(
        self, servers: Servers, handler: Callable[[int, FrameType | None], object]
    ) -> None:
        self._servers = servers
        self._handler = handler
        self._stopping = False
        self._stopped = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._stopped or not self._servers.begun:
            self._handler(number, frame)
        elif self._stopping:
            self._servers.hurry()
        else:
            self._stopping = True
            # Not here: the web server's loop goes on meanwhile.
            threading.Thread(
                target=self._stop, args=(number,), name="recurring-stop", daemon=True
            ).start()

    def _stop(self, number: int) -> None:
        try:
            self._servers.stop()
        finally:
            self._stopped = True
            os.kill(os.getpid(), number)


def _at_exit(call: Callable[[], object]) -> None:
    """Make a call when the process ends, while threads can still be started and joined.

    Functions of ``atexit`` come later: after all threads were waited for, and after executors were
    told to take nothing more. The earlier point is open to the standard library alone, which calls
    in the reverse order; so the executors' own call has to be there before this one.
    """
    atexit.register(call)
    early: Callable[[Callable[[], object]], None] | None
    early = getattr(threading, "_register_atexit", None)
    if early is not None:
        early(call)
