"""The first page: how much, how fast, by whom, what failed, and what comes next."""

from __future__ import annotations

from flask import Response

from ..binding import current_binding
from ..job import JobState
from ..recurring import RecurringJob
from . import chart
from .page import answer
from .schedule import next_first, wording

SHOWN = 8
"""Rows in each of the short lists."""


def overview() -> Response:
    """``GET /``."""
    store = current_binding().store
    recurring = store.recurring.all()
    coming: list[RecurringJob] = sorted(
        (job for job in recurring if job.next_at is not None), key=next_first
    )[:SHOWN]
    return answer(
        "overview.html",
        at="overview",
        counts=store.jobs.counts(),
        chart=chart.throughput(store.statistics.series(60)),
        servers=store.servers.live(),
        running=store.jobs.page(JobState.PROCESSING, limit=SHOWN).items,
        failures=store.jobs.page(JobState.FAILED, limit=SHOWN).items,
        coming=coming,
        recurring_count=len(recurring),
        wording=wording,
    )
