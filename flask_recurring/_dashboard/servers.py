"""The page of the processes that take and run jobs."""

from __future__ import annotations

from flask import Response

from .._flask.binding import current_binding
from . import figures
from .page import answer


def servers() -> Response:
    """``GET /servers``."""
    binding = current_binding()
    live = figures.live_servers()
    return answer(
        "servers.html",
        at="servers",
        servers=live,
        threads=sum(server.threads for server in live),
        busy=sum(server.busy for server in live),
        paused=figures.paused_queues(),
        timeout=binding.settings.server_timeout,
    )
