"""How large the loads and how long the faults are."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T", int, float)

FULL = os.environ.get("RECURRING_TEST_CHAOS") == "full"
"""Whether to take the time that is needed to be sure."""


def sized(small: T, full: T) -> T:
    """``small`` as part of the usual tests, ``full`` with ``RECURRING_TEST_CHAOS=full``."""
    return full if FULL else small
