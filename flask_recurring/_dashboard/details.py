"""One recurring job: its schedule, what counts of it and why, and what became of its ticks."""

from __future__ import annotations

from flask import Response, abort, request

from .._flask.binding import current_binding
from . import notice as notices
from .draft import fields_of
from .due_times import upcoming, wording
from .form_input import GROUPS
from .notice import Notice
from .page import answer, wants_fragment
from .runs import kind_of, strip

HISTORY = 36
"""Entries of the history that are shown."""


def details(notice: Notice | None = None) -> Response:
    """``GET /recurring/details?id=…``."""
    store = current_binding().store
    job = store.recurring.get(request.values.get("id", ""))
    if job is None:
        abort(404)
    history = store.recurring.history(job.id, HISTORY)
    fields = fields_of(job)
    return answer(
        "details.html",
        at="recurring",
        job=job,
        history=history,
        kind_of=kind_of,
        strip=strip(history),
        timing=store.recurring.timing(job.id),
        words=wording(job.cron),
        coming=upcoming(job, store.now()),
        fields=fields,
        options=[fields[one.name] for _, inputs in GROUPS[1:] for one in inputs],
        notice=notice or told(),
    )


def told() -> Notice | None:
    """The notice that a redirect carries."""
    if wants_fragment():
        return None
    return notices.of_recurring(request.args.get("told", ""), request.args.get("job", type=int))
