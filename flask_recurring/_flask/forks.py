"""What a forked child does first: it lets go of all that belongs to its parent.

Connections, locks, threads and listeners of a binding are the parent's. A child that uses one of
them mixes two conversations on one connection, or waits for a thread that it doesn't have. So each
process has one hook, whether or not it will ever have a server, and the hook asks every binding.

On SQLite it is waited, for a moment, until no thread is in the middle of a write: SQLite's library
keeps account of the locks on a file in memory, and a child would find the file locked for good.

A child that C code forks without telling Python can't be covered.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

from . import uwsgi

if TYPE_CHECKING:
    from .binding import Binding

# Weak: a test suite may make an application for each of its tests.
_bindings: WeakSet[Binding] = WeakSet()
_afterwards: list[Callable[[], None]] = []
_process: int | None = None
"""The process whose bindings these are; None before there is one."""
_told: int | None = None
"""The process in which the others were called."""


def protect(binding: Binding) -> None:
    """From now on let forked children forget what the binding has of its parent."""
    global _process
    _bindings.add(binding)
    if _process is None:
        _process = os.getpid()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=_before, after_in_parent=_in_parent, after_in_child=_in_child
            )
        if uwsgi.module() is not None:
            uwsgi.on_fork(_in_child)


def afterwards(call: Callable[[], None]) -> None:
    """Have it called in each child, once the bindings have forgotten their parent."""
    _afterwards.append(call)


def _before() -> None:
    for binding in list(_bindings):
        binding.before_fork()


def _in_parent() -> None:
    for binding in list(_bindings):
        binding.after_fork_in_parent()


def _in_child() -> None:
    """Both hooks may call it in the same child, and uWSGI's in a worker that was not forked."""
    global _process, _told
    if _process != os.getpid():
        _process = os.getpid()
        for binding in list(_bindings):
            binding.after_fork()
    if _told != os.getpid():
        _told = os.getpid()
        for call in _afterwards:
            call()
