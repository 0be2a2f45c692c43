"""Who may see and do what, who it was, and the headers that every answer carries."""

from __future__ import annotations

import importlib
from typing import Any

from flask import Response, current_app, request

from ..access import Access, decide
from ..binding import current_binding

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

ANSWER = "flask_recurring.access"
"""Where a request keeps what the hooks answered. No header can write there."""


def granted() -> Access:
    """What this request may do. The hooks are asked once for each request."""
    # Not kept in `g`: that belongs to the application context, which may outlive the request.
    environ = request.environ
    if ANSWER not in environ:
        binding = current_binding()
        hooks = (*binding.settings.dashboard_authorization, *binding.scheduler.hooks)
        environ[ANSWER] = decide(hooks, request, debug=current_app.debug)
    access: Access = environ[ANSWER]
    return access


def hint() -> str | None:
    """In debug mode: how a developer opens the door."""
    if not current_app.debug:
        return None
    return (
        "from flask_recurring import Access\n\n"
        "@scheduler.authorization\n"
        "def may_use_dashboard(request):\n"
        "    return Access.OPERATE  # or READ, or NONE"
    )


def actor() -> str:
    """Who is asking, for the audit: the name of a signed-in user, else the address."""
    return (
        _login_user()
        or (request.authorization.username if request.authorization else None)
        or request.remote_user
        or request.remote_addr
        or "unknown"
    )


def harden(response: Response) -> Response:
    """Put the headers on an answer. Pages are never kept by a browser or a proxy; assets are."""
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    # The same address gives a page or its live part.
    response.vary.add("HX-Request")
    return response


def _login_user() -> str | None:
    """The id of Flask-Login's current user, if the application uses it and one is signed in."""
    if not hasattr(current_app, "login_manager"):
        return None
    user: Any = importlib.import_module("flask_login").current_user
    if not getattr(user, "is_authenticated", False):
        return None
    identity = user.get_id()
    return None if identity is None else str(identity)
