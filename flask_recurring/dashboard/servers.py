"""The page of the processes that take and run jobs."""

from __future__ import annotations

from flask import Response

from ..binding import current_binding
from .page import answer


def servers() -> Response:
    """``GET /servers``."""
    binding = current_binding()
    live = binding.store.servers.live()
    return answer(
        "servers.html",
        at="servers",
        servers=live,
        threads=sum(server.threads for server in live),
        busy=sum(server.busy for server in live),
        paused=binding.store.queues.paused(),
        timeout=binding.settings.server_timeout,
    )
