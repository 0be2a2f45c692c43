"""The first page: how much, how fast, by whom, what failed, and what comes next."""

from __future__ import annotations

from flask import Response

from ..binding import current_binding
from ..job import JobState
from . import chart
from .page import answer
from .processing import Processing
from .schedule import wording

SHOWN = 8
"""Rows in each of the short lists."""


def overview() -> Response:
    """``GET /``."""
    store = current_binding().store
    counts, live = store.jobs.counts(), store.servers.live()
    return answer(
        "overview.html",
        at="overview",
        counts=counts,
        processing=Processing.of(counts, live),
        chart=chart.throughput(store.statistics.series(60)),
        servers=live,
        paused=store.queues.paused(),
        running=store.jobs.page(JobState.PROCESSING, limit=SHOWN).items,
        failures=store.jobs.page(JobState.FAILED, limit=SHOWN).items,
        coming=store.recurring.upcoming(SHOWN),
        recurring_count=store.recurring.count(),
        wording=wording,
    )
