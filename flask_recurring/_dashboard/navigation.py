"""The figures in the navigation, which every page asks for again."""

from __future__ import annotations

from flask import Response, request

from . import figures
from .page import environment, fragment, polling

PAGES = frozenset({"overview", "recurring", "jobs", "servers"})


def navigation() -> Response:
    """``GET /navigation?at=<page>``."""
    at = request.args.get("at", "")
    body = (
        environment()
        .get_template("recurring/navigation.html")
        .render(
            at=at if at in PAGES else "",
            counts=figures.counts(),
            processing=figures.processing(),
            live_servers=figures.live_servers(),
            nav_polling=polling(),
        )
    )
    return fragment(body)
