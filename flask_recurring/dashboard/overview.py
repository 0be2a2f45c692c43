"""The first page: how much, how fast, by whom, what failed, and what comes next."""

from __future__ import annotations

from flask import Response

from ..binding import current_binding
from ..job import JobState
from . import chart
from .page import answer
from .schedule import wording

SHOWN = 8
"""Rows in each of the short lists."""


def overview() -> Response:
    """``GET /``."""
    store = current_binding().store
    return answer(
        "overview.html",
        at="overview",
        counts=store.jobs.counts(),
        chart=chart.throughput(store.statistics.series(60)),
        servers=store.servers.live(),
        running=store.jobs.page(JobState.PROCESSING, limit=SHOWN).items,
        failures=store.jobs.page(JobState.FAILED, limit=SHOWN).items,
        coming=store.recurring.upcoming(SHOWN),
        recurring_count=store.recurring.count(),
        wording=wording,
    )
