"""Who may see the dashboard, and who may operate it.

Hooks decide: callables that take the request and answer an :class:`Access`, a bool that means none
or operate, or a :class:`Decision`, which also says who it is. Whatever is in doubt is refused: a
hook that fails, an answer that is none of these, a request that may have come through a proxy.
Knows Flask's request, and nothing else of the package.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Request, current_app

logger = logging.getLogger(__name__)


class Access(enum.IntEnum):
    """What a request may do; each includes what comes before it."""

    NONE = 0
    """Nothing: not even the pages show."""
    READ = 1
    """See every page, change nothing."""
    OPERATE = 2
    """See and change: trigger, pause, requeue, delete."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a hook answers that knows more than how much is allowed.

    :param access: what the request may do; a bool as in a hook's plain answer.
    :param user: who it is, if the hook has made sure of that: the name for the audit. With it a
        refusal is 403.
    :param challenge: the ``WWW-Authenticate`` header of a refusal, which is then 401. A challenge
        such as ``Basic realm="jobs"`` makes browsers ask for name and password.
    """

    access: Access | bool
    user: str | None = None
    challenge: str | None = None


Hook = Callable[[Request], Access | bool | Decision]
"""What decides on a request."""


class AllowAll:
    """Lets everybody do everything. For a dashboard that something in front of it guards."""

    def __call__(self, request: Request) -> Access:
        return Access.OPERATE


class LocalRequestsOnly:
    """Lets those do everything who sit at the very machine, and nobody else.

    The connection must come from a loopback address, without a trace of a proxy, and must have
    been asked for by a local name, so that a foreign name that resolves to this machine (DNS
    rebinding) doesn't open it. A proxy on the same machine that leaves no trace can't be told from
    a direct request: behind one, give a hook that asks who the user is.
    """

    def __call__(self, request: Request) -> Access:
        local = (
            _is_loopback(request.remote_addr)
            and not _came_through_proxy(request)
            and _LOCAL_HOST.fullmatch(request.environ.get("HTTP_HOST", "")) is not None
        )
        return Access.OPERATE if local else Access.NONE


def decide(hooks: Iterable[Hook], request: Request, *, debug: bool) -> Decision:
    """What a request may do: the lowest of the hooks' answers, and who it is by one of them.

    A hook that raises, or answers anything else, counts as :attr:`Access.NONE` and is logged.
    Hooks after an answer of NONE are not asked.

    :param debug: whether the app is in debug mode. If there is no hook, direct local requests may
        do everything in debug mode, and nobody anything otherwise.
    """
    hooks = tuple(hooks)
    if not hooks:
        return Decision(LocalRequestsOnly()(request) if debug else Access.NONE)
    lowest = Access.OPERATE
    user: str | None = None
    challenge: str | None = None
    for hook in hooks:
        answer = _answer(hook, request)
        lowest = min(lowest, _access(answer.access))
        if user is None and answer.user is not None:
            user = str(answer.user)  # many applications count their users
        if lowest is Access.NONE:
            challenge = answer.challenge
            break
    return Decision(lowest, user, challenge)


def identity(request: Request) -> str | None:
    """Who certainly stands behind a request, if no hook has said so; None for a stranger.

    Flask-Login's user, if it is set up on the app and one is signed in, or the WSGI server's remote
    user. What an ``Authorization`` header says counts for nothing: anybody can write one.
    """
    return _signed_in() or request.remote_user or None


def same_origin(request: Request) -> bool:
    """True if a request with an unsafe method comes from a page of this very origin.

    What the browser says in ``Sec-Fetch-Site`` counts; only ``same-origin`` will do, as other
    subdomains need not be ours. Browsers send it to https and local addresses only, so elsewhere
    ``Origin`` must be the origin that the app sees itself under. (Behind a proxy that ends TLS the
    app needs Werkzeug's ``ProxyFix`` to see it.) A request with neither, and without a ``Referer``
    from elsewhere, doesn't come from a browser: each one in use sends ``Origin`` with every unsafe
    method from another site. So ``curl`` and scripts pass, and the hooks decide about them.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin")
    if origin is not None:
        return _is_own(origin, request, path_allowed=False)
    referer = request.headers.get("Referer")
    return referer is None or _is_own(referer, request, path_allowed=True)


def _answer(hook: Hook, request: Request) -> Decision:
    try:
        answer: Any = hook(request)
    except Exception:
        logger.exception("Authorization hook %r failed, so access is refused", hook)
        return Decision(Access.NONE)
    if isinstance(answer, (Access, bool)):
        return Decision(answer)
    if isinstance(answer, Decision) and isinstance(answer.access, (Access, bool)):
        return answer
    if inspect.iscoroutine(answer):
        answer.close()
        logger.error("Authorization hook %r is async, so access is refused: use a def", hook)
        return Decision(Access.NONE)
    logger.error(
        "Authorization hook %r answered %s, so access is refused: answer Access.NONE, Access.READ, "
        "Access.OPERATE, True, False, or a Decision with one of these",
        hook,
        "None (does it lack a return?)" if answer is None else f"a {type(answer).__name__}",
    )
    return Decision(Access.NONE)


def _access(answer: Access | bool) -> Access:
    if isinstance(answer, Access):
        return answer
    return Access.OPERATE if answer else Access.NONE


# Local requests

_LOOPBACK = re.compile(r"(::ffff:)?127(\.[0-9]{1,3}){3}|::1", re.IGNORECASE)
_LOCAL_HOST = re.compile(r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)

_PROXY_HEADERS = re.compile(
    r"""
    .*FORWARDED.* | VIA | CLIENT_IP | PROXY_.*
    | X_(REAL|CLIENT|CLUSTER_CLIENT|ORIGINATING|REMOTE|PROXYUSER)_(IP|ADDR)
    | X_ORIGINAL_.* | X_PROXY_.* | X_SCHEME | X_HOST | X_REQUEST_START | X_SCRIPT_NAME
    | TRUE_CLIENT_IP | (FASTLY|FLY)_.* | CF_.* | CDN_.* | X_ENVOY_.* | X_AMZN?_.* | X_ARR_.*
    | X_AZURE_.* | X_APPENGINE_.* | X_CLOUD_TRACE_CONTEXT | X_NGINX_.* | X_VARNISH
    | NGROK_.* | TAILSCALE_.*
    """,
    re.VERBOSE,
)

_REWRITTEN = ("REMOTE_ADDR", "HTTP_HOST")


def _is_loopback(address: str | None) -> bool:
    return address is not None and _LOOPBACK.fullmatch(address) is not None


def _came_through_proxy(request: Request) -> bool:
    environ = request.environ
    # What stood there before ProxyFix put in what the proxy said. (It notes that always.)
    original = environ.get("werkzeug.proxy_fix.orig", {})
    return (
        any(environ.get(key) != original.get(key, environ.get(key)) for key in _REWRITTEN)
        # nginx, unless told otherwise, leaves no header but speaks this to what is behind it,
        # which no browser does.
        or environ.get("SERVER_PROTOCOL") == "HTTP/1.0"
        or any(
            key.startswith("HTTP_") and _PROXY_HEADERS.fullmatch(key, 5) is not None
            for key in environ
        )
    )


# Identity


def _signed_in() -> str | None:
    """The id of Flask-Login's user, if the application uses it and one is signed in."""
    if not hasattr(current_app, "login_manager"):
        return None
    try:
        user: Any = importlib.import_module("flask_login").current_user
        return str(user.get_id()) if getattr(user, "is_authenticated", False) else None
    except Exception:
        # The application's own user loader runs here; whatever it raises, nobody is known.
        logger.exception("Flask-Login could not tell who is signed in")
        return None


# Origins

_DEFAULT_PORTS = {"http": 80, "https": 443}


def _is_own(address: str, request: Request, *, path_allowed: bool) -> bool:
    own = _origin(f"{request.scheme}://{request.environ.get('HTTP_HOST', '')}")
    return own is not None and _origin(address, path_allowed=path_allowed) == own


def _origin(address: str, *, path_allowed: bool = False) -> tuple[str, str, int] | None:
    """Scheme, host and port; None if the address has none or is no plain one."""
    try:
        parts = urlsplit(address)
        default = _DEFAULT_PORTS[parts.scheme]
        port = default if parts.port is None else parts.port
    except (ValueError, KeyError):
        return None
    plain = parts.username is None and (
        path_allowed or not (parts.path or parts.query or parts.fragment)
    )
    if not plain or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port
