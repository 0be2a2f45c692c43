"""SQLite's clock."""

from __future__ import annotations

import time


def now() -> int:
    """SQLite's clock, which is the host's, in the whole milliseconds that SQLite counts.

    In microseconds a job would be written that lies ahead, by a part of one, of what the statements
    that ask SQLite itself take for now.
    """
    return time.time_ns() // 1_000_000 * 1000
