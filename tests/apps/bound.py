"""``bound.py COMMAND …`` runs a command that ends, at the latest, when whoever started it does.

A test run that is killed stops nothing of what it started. On Linux the kernel does it then.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def bind() -> None:
    """Let this process be killed when its parent is gone. A program that it turns into keeps it,
    a child that it makes does not."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


BOUND = (sys.executable, "-S", "-E", os.path.abspath(__file__))
"""What to put before a command."""

if __name__ == "__main__":
    bind()
    os.execvp(sys.argv[1], sys.argv[1:])
