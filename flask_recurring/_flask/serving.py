"""Starts the server in each process that serves the application, and stops it with the process.

**The rule.** A process serves when one of its threads is inside the loop of a web server; see
``detection``. That is true for ``flask run`` with and without the reloader, ``app.run`` and the
workers of gunicorn, uWSGI and others, and false for a shell, a command, a test, the reloader's
parent and gunicorn's master. A web server that is not known here shows itself by the first request
that it brings, or by a call of ``Scheduler.start``.

One thread of the process looks, for all applications in it. A master that forks its workers gets
none, because there must be no other thread when it does so.

**Forks.** A child of a process that was not serving yet (gunicorn's master with ``--preload``)
watches anew. A child of one that was (a job that uses ``multiprocessing``) is nobody's server.
"""

from __future__ import annotations

import threading
import time
import weakref

from flask import request

from .._log.logger import logger
from . import detection, forks, uwsgi
from .binding import Binding
from .ending import Ending

WATCH_INTERVAL = 0.05
WATCH_TIME = 60.0
"""Seconds between two looks, and until nobody looks any more: then the first request counts."""

UNKNOWN = (
    "This process accepts connections, but by no web server that is known here, so no jobs have "
    "run in it so far. They do from its first request on. To run them from the start, call "
    "scheduler.start() once it serves; see the documentation, under Deployment."
)
THREADLESS = (
    "uWSGI gives this process no threads, so no jobs run in it. Start it with --enable-threads, or "
    "run jobs by 'flask recurring worker' and set RECURRING_WORKER_ENABLED to False here."
)
MASTER = (
    "scheduler.start() does nothing in a process that forks those that serve: each of them starts "
    "its server by itself."
)

PATCHED_LATE = (
    "gevent has patched this process after the application was made, so that its locks don't work "
    "any more, and no jobs run in it. Let it patch first: begin the file gunicorn.conf.py, or the "
    "program, with 'from gevent import monkey; monkey.patch_all()'."
)


class Serving:
    """Starts and stops the server of one binding with the process."""

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self._begun = False
        self._lock = threading.Lock()
        self._watched_until = time.monotonic() + WATCH_TIME

    def watch(self) -> None:
        """Arrange for the server to run while the application is served by this process."""
        if uwsgi.module() is not None and not uwsgi.has_threads():
            logger.error(THREADLESS)
            return
        _arrange()
        self.binding.app.before_request(self._on_request)
        _watcher.add(self)

    @property
    def awaited(self) -> bool:
        """True while nobody knows yet if the process serves the application."""
        if self._begun or self.binding.server is not None or self.binding.app.testing:
            return False
        return time.monotonic() < self._watched_until

    @property
    def missed(self) -> bool:
        """True if the process was not seen to serve the application."""
        return not (self._begun or self.binding.server is not None or self.binding.app.testing)

    def _on_request(self) -> None:
        if not self._begun and detection.brought_by_server(request.environ):
            self.begin()

    def begin(self) -> None:
        """Start the server if it was not begun before, and say so if it can't start."""
        if not self._begun:
            try:
                self.start()
            except Exception as error:
                logger.error("The server can't start: %s", error)

    def start(self) -> bool:
        """Start the server, unless it runs. False where none may run."""
        with self._lock:
            if self.binding.app.testing:
                return False
            if detection.forks_workers():
                logger.warning(MASTER)
                return False
            self._begun = True
        self.binding.start_server(self.binding.settings.dashboard_url_prefix)
        return True

    def stop(self) -> None:
        """Stop the server in order."""
        self.binding.stop_server()

    def give_up(self) -> None:
        """Start no server in this process, unless ``Scheduler.start`` is called."""
        self._begun = True

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
        self._patched = False
        """True if the thread was started when gevent had patched."""
        self._lock = threading.Lock()

    def add(self, serving: Serving) -> None:
        """Begin the serving once the process serves."""
        with self._lock:
            self._servings.add(serving)
        self.look_out()

    def all(self) -> tuple[Serving, ...]:
        """All that were added and are still there."""
        with self._lock:
            return tuple(self._servings)

    @property
    def begun(self) -> bool:
        """True if one of them has begun."""
        return any(serving.begun for serving in self.all())

    def stop(self) -> None:
        """Stop all servers in order."""
        for serving in self.all():
            serving.stop()

    def hurry(self) -> None:
        """Cut the time that a stop under way gives to runs."""
        for serving in self.all():
            serving.binding.hurry_server()

    def after_fork(self) -> None:
        """In a child process, where the thread is gone."""
        self._lock = threading.Lock()
        self._thread = None
        for serving in self.all():
            serving.after_fork()
        self.look_out()

    def look_out(self) -> None:
        """Look whether the process serves, from now on, if anybody waits for it."""
        if detection.forks_workers():
            return
        with self._lock:
            awaited = any(serving.awaited for serving in self._servings)
            if awaited and self._thread is None:
                self._patched = detection.patched()
                self._thread = threading.Thread(
                    target=self._run, name="recurring-watch", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while self._look():
            time.sleep(WATCH_INTERVAL)
        if any(serving.missed for serving in self.all()) and detection.accepts_connections():
            logger.warning(UNKNOWN)

    def _look(self) -> bool:
        """Look once. True if another look is needed."""
        awaited = [serving for serving in self.all() if serving.awaited]
        if awaited and detection.patched() and not self._patched:
            logger.error(PATCHED_LATE)
            for serving in awaited:
                serving.give_up()
        elif awaited and detection.serves():
            for serving in awaited:
                serving.begin()
        with self._lock:
            if any(serving.awaited for serving in self._servings):
                return True
            self._thread = None
            return False


_watcher = Watcher()
_ending = Ending(_watcher)
_arranged = False


def _arrange() -> None:
    """Set up, once in a process, what happens when it forks, and what when it ends."""
    global _arranged
    if not _arranged:
        _arranged = True
        forks.afterwards(_after_fork)
    _ending.arrange()


def _after_fork() -> None:
    _watcher.after_fork()
    _ending.after_fork()


def watch(binding: Binding) -> Serving:
    """Let the binding's server run whenever its application is served by this process."""
    serving = Serving(binding)
    serving.watch()
    return serving


def start(binding: Binding) -> bool:
    """Start the binding's server now. False where none may run."""
    return any(serving.start() for serving in _watcher.all() if serving.binding is binding)
