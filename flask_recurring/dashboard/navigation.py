"""The figures in the navigation, which every page asks for again."""

from __future__ import annotations

from flask import Response, request

from ..binding import current_binding
from .page import environment, fragment, polling
from .processing import Processing

PAGES = frozenset({"overview", "recurring", "jobs", "servers"})


def navigation() -> Response:
    """``GET /navigation?at=<page>``."""
    store = current_binding().store
    at = request.args.get("at", "")
    counts, live = store.jobs.counts(), store.servers.live()
    body = (
        environment()
        .get_template("recurring/navigation.html")
        .render(
            at=at if at in PAGES else "",
            counts=counts,
            processing=Processing.of(counts, live),
            live_servers=live,
            nav_polling=polling(),
        )
    )
    return fragment(body)
