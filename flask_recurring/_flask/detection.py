"""The kind of process: does it serve an application, and did a web server bring this request?

The threads' stacks answer that, so nothing is patched and no environment variable is trusted. uWSGI
is written in C and stands on no stack; there its own module answers.
"""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any

from . import uwsgi

LOOPS = frozenset(
    {
        ("werkzeug.serving", "serve_forever"),
        ("waitress.server", "run"),
        ("cheroot.server", "serve"),
        ("gevent.baseserver", "serve_forever"),
        ("uvicorn.server", "run"),
        ("uvicorn.workers", "run"),
        ("uvicorn_worker._workers", "run"),
        ("hypercorn.asyncio.run", "_run"),
        ("hypercorn.trio.run", "trio_worker"),
        ("granian.server.mp", "_spawn_wsgi_worker"),
        ("granian.server.mp", "_spawn_asgi_worker"),
        ("granian.server.mp", "_spawn_asgi_lifespan_worker"),
    }
)
"""Functions, by module and name, in which a web server stays as long as it serves."""

GUNICORN_WORKERS = "gunicorn.workers."

LOADING = frozenset({("uvicorn.config", "load")})
"""Functions in which a web server makes the application inside of its loop."""

SUPERVISORS = frozenset(
    {
        ("werkzeug._reloader", "restart_with_reloader"),
        ("gunicorn.arbiter", "run"),
        ("hypercorn.run", "run"),
    }
)
"""Functions of processes that listen, may know the application, and let their children serve it."""

BROUGHT = ("uwsgi.", "mod_wsgi.", "gunicorn.", "waitress.", "asgi.")
"""Beginnings of keys that only a web server puts into a request's environment."""

ADAPTERS = frozenset(
    {
        "asgiref.wsgi",
        "a2wsgi.wsgi",
        "hypercorn.app_wrappers",
        "starlette.middleware.wsgi",
        "uvicorn.middleware.wsgi",
    }
)
"""Modules through which an ASGI server calls a WSGI application."""

Caller = tuple[str, str]
"""Module and function of a frame."""


def serves() -> bool:
    """True if this process serves, and its applications are made."""
    if uwsgi.module() is not None:
        return uwsgi.serves()
    return any(_in_loop(set(places)) for places in _stacks())


def forks_workers() -> bool:
    """True if the application is being made in a process that will fork those that serve it."""
    if uwsgi.module() is not None:
        return uwsgi.forks_workers()
    places = set(_places(sys._getframe()))
    return (
        any(module == "gunicorn.arbiter" for module, _ in places)
        and ("gunicorn.arbiter", "spawn_worker") not in places
    )


def patched() -> bool:
    """True if gevent has put greenlets in the place of threads."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def brought_by_server(environ: Mapping[str, Any]) -> bool:
    """True if a web server brought the present request, False for a test client."""
    return (
        "SERVER_SOFTWARE" in environ
        or any(key.startswith(BROUGHT) for key in environ)
        or any(module in ADAPTERS for module, _ in _places(sys._getframe()))
    )


def accepts_connections() -> bool:
    """True if this process listens on a network port, and not for children that serve."""
    if any(not SUPERVISORS.isdisjoint(places) for places in _stacks()):
        return False
    # By type(), since isinstance() may wake what pretends to be something else.
    everything = gc.get_objects()
    return any(_listens(one) for one in everything if issubclass(type(one), socket.socket))


def _in_loop(places: set[Caller]) -> bool:
    return LOADING.isdisjoint(places) and any(
        place in LOOPS or (place[1] == "run" and place[0].startswith(GUNICORN_WORKERS))
        for place in places
    )


def _stacks() -> Iterator[Iterable[Caller]]:
    """The stacks of all threads; of greenlets, those that the present one was started by."""
    for frame in list(sys._current_frames().values()):
        yield _places(frame)
    greenlets = sys.modules.get("greenlet")
    if greenlets is not None:
        # Under gevent, whose hub is the parent of all, and its parent what the thread began with.
        one = greenlets.getcurrent().parent
        while one is not None:
            yield _places(one.gr_frame)
            one = one.parent


def _places(frame: FrameType | None) -> Iterator[Caller]:
    while frame is not None:
        yield frame.f_globals.get("__name__", ""), frame.f_code.co_name
        frame = frame.f_back


def _listens(one: socket.socket) -> bool:
    with suppress(OSError, AttributeError):
        return one.family in (socket.AF_INET, socket.AF_INET6) and bool(
            one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        )
    return False
