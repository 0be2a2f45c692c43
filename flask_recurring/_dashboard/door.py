"""The dashboard's door: who may come in, and from where an action may come."""

from __future__ import annotations

import logging

from flask import Response, current_app, request

from .._flask.binding import current_binding
from . import page, security
from .access import Access, identity, same_origin
from .outage import SAFE

log = logging.getLogger("flask_recurring")

NO_PROMPT = 'Session realm="flask-recurring"'
"""The challenge of a refusal that no hook has one for. Each 401 must have one; this scheme is known
to no browser, so none opens a prompt whose answer nobody would read. It says what most applications
want: a session of their own."""

OPENING = """from flask_recurring import Access

@scheduler.authorization
def may_use_dashboard(request):
    return Access.OPERATE  # or READ, or NONE"""
"""How a developer opens the door."""

TOLD = "recurring.dashboard.told"
"""Key, in the application's extensions, of whether its developer was told so."""


def guard() -> Response | None:
    """The door: who may come in, and from where an action may come. Assets show nothing."""
    if request.endpoint is not None and request.endpoint.endswith(".asset"):
        return None
    allowed = security.granted()
    if allowed is Access.NONE:
        return refuse()
    # In a process that runs no server nobody else has made the tables and written what the code
    # declares. Both are done once.
    current_binding().ready_store()
    current_binding().define()
    if request.method in SAFE:
        return None
    if not same_origin(request):
        return page.message(
            "That came from another site",
            "Actions are taken only from the dashboard's own pages. Open the page and try again.",
            403,
        )
    if allowed is not Access.OPERATE:
        return page.message(
            "You may look, not touch", "You have read access: it shows everything.", 403
        )
    return None


def refuse() -> Response:
    """401 for a stranger, 403 for somebody who is known but not let in."""
    found = security.decision()
    if found.user or (found.challenge is None and identity(request)):
        return page.message("Not for you", "You are signed in, but not for this dashboard.", 403)
    if not security.hooks():
        _tell_how_to_open()
    text = "This dashboard is closed to visitors."
    answer = page.message("Sign in first", text, 401, OPENING if current_app.debug else None)
    answer.headers["WWW-Authenticate"] = found.challenge or NO_PROMPT
    return answer


def _tell_how_to_open() -> None:
    """Once for each application and process: who runs it may wonder why it is closed."""
    told = current_app.extensions.setdefault(TOLD, [])
    if not told:
        told.append(True)
        log.warning(
            "The dashboard refused a request, since nothing says who may use it (in debug mode: a "
            "browser on the same machine). Add a hook, as in docs/dashboard.md:\n%s",
            OPENING,
        )
