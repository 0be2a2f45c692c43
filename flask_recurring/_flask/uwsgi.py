"""uWSGI's own rules: Python runs inside of it, and C code forks and serves.

The module ``uwsgi`` exists in its processes and nowhere else.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable
from typing import Any


def module() -> Any:
    """uWSGI's own module, None outside of uWSGI."""
    found = sys.modules.get("uwsgi")  # not imported: many an application has a file of that name
    return found if hasattr(found, "worker_id") and hasattr(found, "masterpid") else None


def forks_workers() -> bool:
    """True if this process is not a worker, or not yet."""
    return bool(module().worker_id() == 0)


def serves() -> bool:
    """True if this process is a worker that waits for requests."""
    if forks_workers():
        return False
    # While a worker makes the application its main thread runs Python, and later only in requests.
    # Where uWSGI was itself started by Python, its call stands there all the time.
    main = threading.main_thread().ident
    frame = sys._current_frames().get(main) if main is not None else None
    return frame is None or frame.f_globals.get("__name__") == "__main__"


def has_threads() -> bool:
    """True if threads run beside requests. Older versions of uWSGI allow that only on demand."""
    return bool(module().has_threads)


def on_fork(call: Callable[[], None]) -> None:
    """Make a call first in each forked worker; without a master, in the first worker too.

    uWSGI forks its workers without calling Python's own hooks.
    """
    uwsgi = module()
    given = getattr(uwsgi, "post_fork_hook", None)
    spooler = getattr(uwsgi, "spooler", None)
    known = "uwsgidecorators" in sys.modules
    try:
        # It puts hooks of its own in the place of all others when it is imported: better now than
        # later, by the application, which would take this one away.
        uwsgidecorators = importlib.import_module("uwsgidecorators")
    except Exception:  # it is not there, or there is no master

        def hook() -> None:
            call()
            if given is not None:
                given()

        uwsgi.post_fork_hook = hook
        return
    chain = uwsgidecorators.postfork_chain
    chain.insert(0, call)
    if not known:
        if given is not None:
            chain.append(given)
        if spooler is not None:
            uwsgi.spooler = spooler
