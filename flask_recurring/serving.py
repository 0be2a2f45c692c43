"""Decides whether this process serves the application, and so whether its server is to run.

**The rule.** A process serves when one of its threads is inside the loop of a WSGI server. That is
looked up on the threads' stacks, so nothing has to be patched, no environment variable has to be
believed, and it is true for ``flask run`` with and without the reloader, ``app.run``, gunicorn's
workers and waitress, and false for a shell, a command, a test, the reloader's parent and gunicorn's
master. A WSGI server that is not known here shows itself by the first request that it brings.

**Forks.** A child of a process that was not serving yet (gunicorn's master with ``--preload``)
watches anew. A child of one that was (a job that uses ``multiprocessing``) is nobody's server.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any

import click
from flask import request

from .binding import Binding, logger

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

_watched: weakref.WeakSet[Serving] = weakref.WeakSet()


class Serving:
    """Starts and stops the server of one binding with the process."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._begun = False
        self._lock = threading.Lock()

    def watch(self) -> None:
        """Arrange for the server to run while the application is served by this process."""
        _watched.add(self)
        _arrange_once()
        self._binding.app.before_request(self._on_request)
        self._watch_in_background()

    def _watch_in_background(self) -> None:
        # In gunicorn's master there must be no thread when it forks its workers.
        if not (_in_other_command() or _in_gunicorn_master()):
            threading.Thread(target=self._watch, name="recurring-watch", daemon=True).start()

    def _watch(self) -> None:
        end = time.monotonic() + WATCH_TIME
        while not self._begun and time.monotonic() < end:
            if serves():
                self._begin()
                return
            time.sleep(WATCH_INTERVAL)

    def _on_request(self) -> None:
        # The test client's environment has no server in it.
        if not self._begun and (
            "SERVER_SOFTWARE" in request.environ
            or any(key.startswith(FOREIGN) for key in request.environ)
        ):
            self._begin()

    def _begin(self) -> None:
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
        self._binding.after_fork()
        if not self._begun:
            self._watch_in_background()


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


def _in_other_command() -> bool:
    """Whether this is a command of the ``flask`` program that doesn't serve."""
    context = click.get_current_context(silent=True)
    names = []
    while context is not None:
        names.append(context.info_name)
        context = context.parent
    return bool(names) and "run" not in names


def _arrange_once() -> None:
    """Set up, once in a process, what happens when it forks and when it ends."""
    global _arranged
    if not _arranged:
        _arranged = True
        atexit.register(_stop_all)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)
    # Python's default for SIGTERM ends the process on the spot. Whoever has a handler of their own
    # ends it in order already.
    if threading.current_thread() is threading.main_thread():
        with contextlib.suppress(ValueError, OSError):
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, _on_sigterm)


_arranged = False


def _on_sigterm(number: int, frame: FrameType | None) -> Any:
    if any(serving.begun for serving in tuple(_watched)):
        # Unwinds the WSGI server's loop like any exit; the handler of atexit does the rest.
        raise SystemExit(128 + number)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _stop_all() -> None:
    for serving in tuple(_watched):
        serving.stop()


def _after_fork() -> None:
    for serving in tuple(_watched):
        serving.after_fork()


def watch(binding: Binding) -> Serving:
    """Let the binding's server run whenever its application is served by this process."""
    serving = Serving(binding)
    serving.watch()
    return serving
