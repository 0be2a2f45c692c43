"""Decides whether this process serves the application, and so whether its server is to run.

**The rule.** A process serves when one of its threads is inside the loop of a WSGI server. That is
looked up on the threads' stacks, so nothing has to be patched, no environment variable has to be
believed, and it is true for ``flask run`` with and without the reloader, ``app.run``, gunicorn's
workers and waitress, and false for a shell, a command, a test, the reloader's parent and gunicorn's
master. A WSGI server that is not known here shows itself by the first request that it brings.

One thread of the process looks, for all applications in it. Gunicorn's master gets none, because
there must be no other thread when it forks its workers.

**Forks.** A child of a process that was not serving yet (gunicorn's master with ``--preload``)
watches anew. A child of one that was (a job that uses ``multiprocessing``) is nobody's server.

**The end.** Servers are stopped before the interpreter waits for threads and takes executors away,
so that jobs can use both until they are done.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 (see _at_exit)
import contextlib
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from flask import request

from . import forks
from .binding import Binding
from .log import logger

LOOPS = {
    ("werkzeug.serving", "serve_forever"),
    ("waitress.server", "run"),
    ("cheroot.server", "serve"),
    ("gevent.baseserver", "serve_forever"),
}
GUNICORN_WORKERS = "gunicorn.workers."

WATCH_INTERVAL = 0.05
WATCH_TIME = 60.0
"""Seconds between two looks, and until nobody looks any more: then the first request counts."""

FOREIGN = ("uwsgi.", "mod_wsgi.", "gunicorn.", "waitress.")
"""Keys in a request's environment that only a server puts there."""


class Serving:
    """Starts and stops the server of one binding with the process."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._begun = False
        self._lock = threading.Lock()
        self._watched_until = time.monotonic() + WATCH_TIME

    def watch(self) -> None:
        """Arrange for the server to run while the application is served by this process."""
        _arrange_once()
        self._binding.app.before_request(self._on_request)
        _watcher.add(self)

    @property
    def awaited(self) -> bool:
        """Whether it is still to be looked whether the process serves."""
        if self._begun or self._binding.server is not None or self._binding.app.testing:
            return False
        return time.monotonic() < self._watched_until

    def _on_request(self) -> None:
        # The test client's environment has no server in it.
        if not self._begun and (
            "SERVER_SOFTWARE" in request.environ
            or any(key.startswith(FOREIGN) for key in request.environ)
        ):
            self.begin()

    def begin(self) -> None:
        """Start the server, unless it was begun before or the application is being tested."""
        with self._lock:
            if self._begun or self._binding.app.testing:
                return
            self._begun = True
        try:
            self._binding.start_server()
        except Exception as error:
            logger.error("The server can't start: %s", error)

    def stop(self) -> None:
        """Stop the server in order."""
        self._binding.stop_server()

    @property
    def begun(self) -> bool:
        return self._begun

    def after_fork(self) -> None:
        """In a child process."""
        self._lock = threading.Lock()
        self._watched_until = time.monotonic() + WATCH_TIME


class Watcher:
    """Looks, on one thread, whether the process serves, for all that wait for it."""

    def __init__(self) -> None:
        # Weak: a test suite may make an application for each of its tests.
        self._servings: weakref.WeakSet[Serving] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def add(self, serving: Serving) -> None:
        """Begin the serving once the process serves."""
        with self._lock:
            self._servings.add(serving)
            if not _in_gunicorn_master():
                self._look_out()

    def all(self) -> tuple[Serving, ...]:
        """All that were added and are still there."""
        with self._lock:
            return tuple(self._servings)

    def after_fork(self) -> None:
        """In a child process, where the thread is gone."""
        self._lock = threading.Lock()
        self._thread = None
        for serving in self.all():
            serving.after_fork()
        if any(serving.awaited for serving in self.all()):
            with self._lock:
                self._look_out()

    def _look_out(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recurring-watch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._look():
            time.sleep(WATCH_INTERVAL)

    def _look(self) -> bool:
        """Look once; whether to look again."""
        awaited = [serving for serving in self.all() if serving.awaited]
        if awaited and serves():
            for serving in awaited:
                serving.begin()
        with self._lock:
            if any(serving.awaited for serving in self._servings):
                return True
            self._thread = None
            return False


_watcher = Watcher()


def serves() -> bool:
    """Whether a thread of this process is inside the loop of a WSGI server."""
    for frame in sys._current_frames().values():
        for module, function in _stack(frame):
            if (module, function) in LOOPS:
                return True
            if function == "run" and module.startswith(GUNICORN_WORKERS):
                return True
    return False


def _stack(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    while frame is not None:
        yield frame.f_globals.get("__name__", ""), frame.f_code.co_name
        frame = frame.f_back


def _in_gunicorn_master() -> bool:
    """Whether the application is being loaded by gunicorn's master, before it forks."""
    modules = {module for module, _ in _stack(sys._getframe())}
    return "gunicorn.arbiter" in modules and not any(
        module.startswith(GUNICORN_WORKERS) for module in modules
    )


def _arrange_once() -> None:
    """Set up, once in a process, what happens when it forks and when it ends."""
    global _arranged
    if not _arranged:
        _arranged = True
        _at_exit(_stop_all)
        forks.afterwards(_after_fork)
    # Python's default for SIGTERM ends the process on the spot. Whoever has a handler of their own
    # ends it in order already.
    if threading.current_thread() is threading.main_thread():
        with contextlib.suppress(ValueError, OSError):
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, _on_sigterm)


_arranged = False


def _at_exit(call: Callable[[], object]) -> None:
    """Have it called when the process ends, while threads can still be started and joined.

    Functions of ``atexit`` come later: after all threads were waited for, and after executors were
    told to take nothing more. The earlier point is open to the standard library alone, which calls
    in the reverse order; so the executors' own call has to be there before this one.
    """
    atexit.register(call)
    early: Callable[[Callable[[], object]], None] | None
    early = getattr(threading, "_register_atexit", None)
    if early is not None:
        early(call)


def _on_sigterm(number: int, frame: FrameType | None) -> Any:
    if any(serving.begun for serving in _watcher.all()):
        # Unwinds the WSGI server's loop like any exit; the end of the process does the rest.
        raise SystemExit(128 + number)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _stop_all() -> None:
    for serving in _watcher.all():
        serving.stop()


def _after_fork() -> None:
    _watcher.after_fork()
    if any(serving.begun for serving in _watcher.all()) and (
        signal.getsignal(signal.SIGTERM) is _on_sigterm
    ):
        # Nothing is to be stopped here: let whoever started the child end it as any other.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def watch(binding: Binding) -> Serving:
    """Let the binding's server run whenever its application is served by this process."""
    serving = Serving(binding)
    serving.watch()
    return serving
