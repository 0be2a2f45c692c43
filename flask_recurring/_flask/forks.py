"""The hook for forked children: each forgets first what belongs to its parent.

Connections, locks, threads and listeners of a binding are the parent's. A child that uses one of
them mixes two conversations on one connection, or waits for a thread that it doesn't have. So each
process has one hook, also where it never has a server, and the hook calls every binding.

On SQLite a fork waits for a moment until no thread is writing. SQLite's library keeps the locks on
a file in memory too, so a child would find the file locked for good.

A child that C code forks without calling Python's hooks is not covered.
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
_called_in: int | None = None
"""The process in which the calls of ``afterwards`` were made."""


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
    """Make a call in each child, after its bindings have forgotten their parent."""
    _afterwards.append(call)


def _before() -> None:
    for binding in list(_bindings):
        binding.before_fork()


def _in_parent() -> None:
    for binding in list(_bindings):
        binding.after_fork_in_parent()


def _in_child() -> None:
    """Both hooks may call it in the same child, and uWSGI's in a worker that was not forked."""
    global _process, _called_in
    if _process != os.getpid():
        _process = os.getpid()
        for binding in list(_bindings):
            binding.after_fork()
    if _called_in != os.getpid():
        _called_in = os.getpid()
        for call in _afterwards:
            call()
