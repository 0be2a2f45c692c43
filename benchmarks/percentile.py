"""Percentiles of measured values."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` (0 to 1) of all values don't exceed.

    It is one of the values, never a mean of two. Raises ``ValueError`` if there are none.
    """
    if not values:
        raise ValueError("a percentile of no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
