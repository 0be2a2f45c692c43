"""The first page: how much, how fast, by whom, what failed, and what comes next."""

from __future__ import annotations

from flask import Response

from . import chart, figures
from .due_times import wording
from .page import answer

SHOWN = 8
"""Rows in each of the short lists."""


def overview() -> Response:
    """``GET /``."""
    found = figures.overview(SHOWN)
    return answer(
        "overview.html",
        at="overview",
        counts=figures.counts(),
        processing=figures.processing(),
        chart=chart.throughput(found.minutes),
        servers=figures.live_servers(),
        paused=figures.paused_queues(),
        running=found.running,
        failures=found.failures,
        coming=found.coming,
        recurring_count=found.recurring_count,
        wording=wording,
    )
