"""Who may see and do what, who it was, and the headers that every answer carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Response, current_app, request
from werkzeug.datastructures import Headers

from .._flask.binding import current_binding
from .._flask.commands import Commands
from .access import Access, Decision, Hook, decide, identity

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

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


def decision() -> Decision:
    """What the hooks say about this request. They are asked once for each."""
    # Not kept in `g`: that belongs to the application context, which may outlive the request.
    environ = request.environ
    if ANSWER not in environ:
        environ[ANSWER] = decide(hooks(), request, debug=current_app.debug)
    answer: Decision = environ[ANSWER]
    return answer


def hooks() -> tuple[Hook, ...]:
    """All that decide about the dashboard: the settings' and the scheduler's."""
    binding = current_binding()
    return (*binding.settings.dashboard_authorization, *binding.registry.hooks)


def granted() -> Access:
    """What this request may do."""
    return Access(decision().access)


def actor() -> str:
    """Who is asking, for the audit: whom a hook or a login vouches for, else the address."""
    return decision().user or identity(request) or request.remote_addr or "unknown"


def commands() -> Commands:
    """What this request may do to jobs and recurring jobs, in the name of who is asking."""
    return Commands(current_binding(), actor())


class Hardened(Response):
    """An answer whose headers of security stay as they are, whatever the application's own hooks
    put in their place: Flask-Talisman, for instance, has a policy for all pages."""

    kept: dict[str, str]

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """Called by Werkzeug when the answer goes out: nothing comes after it."""
        headers = super().get_wsgi_headers(environ)
        headers.update(self.kept)
        return headers


HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def harden(response: Response) -> Response:
    """Put the headers on an answer. Pages are never kept by a browser or a proxy; assets are."""
    # The same address gives a page or its live part.
    response.vary.add("HX-Request")
    hardened = cast(Hardened, Hardened.force_type(response))
    hardened.kept = {"Cache-Control": response.headers.get("Cache-Control", "no-store")} | HEADERS
    return hardened
