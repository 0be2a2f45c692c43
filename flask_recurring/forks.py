"""What a forked child does first: it lets go of all that belongs to its parent.

Connections, locks, threads and listeners of a binding are the parent's. A child that uses one of
them mixes two conversations on one connection, or waits for a thread that it doesn't have. So each
process has one hook, whether or not it will ever have a server, and the hook asks every binding.

A child that C code forks without telling Python can't be covered.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from .binding import Binding

# Weak: a test suite may make an application for each of its tests.
_bindings: WeakSet[Binding] = WeakSet()
_afterwards: list[Callable[[], None]] = []
_process: int | None = None
"""The process that the hook is there for; None before there is one."""


def protect(binding: Binding) -> None:
    """From now on let forked children forget what the binding has of its parent."""
    global _process
    _bindings.add(binding)
    if _process is None:
        _process = os.getpid()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=in_child)


def afterwards(call: Callable[[], None]) -> None:
    """Have it called in each child, once the bindings have forgotten their parent."""
    _afterwards.append(call)


def in_child() -> None:
    """To be called in a child process, before anything else; again does no harm."""
    global _process
    if _process == os.getpid():
        return
    _process = os.getpid()
    for binding in list(_bindings):
        binding.after_fork()
    for call in _afterwards:
        call()
