"""The dashboard's addresses, and what stands before and after each of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from flask import Blueprint, Response, abort, current_app, request
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from .._flask.binding import Binding, current_binding
from .._store import StoreUnavailable, StoreUnusable
from . import (
    actions,
    assets,
    console,
    details,
    door,
    editor,
    job,
    jobs,
    navigation,
    overview,
    page,
    recurring,
    security,
    servers,
)
from .outage import SAFE, outage

View = Callable[..., ResponseReturnValue]

PATIENCE = 5.0
"""Seconds that a statement of a page may take."""

UNSAFE = ["POST", "PUT", "PATCH", "DELETE"]


def create_blueprint(binding: Binding) -> Blueprint:
    """The dashboard of one application, mounted under its settings' prefix."""
    prefix = binding.settings.dashboard_url_prefix
    blueprint = Blueprint("recurring", __name__, url_prefix=prefix)
    blueprint.before_request(door.guard)
    blueprint.after_request(security.harden)
    _pages(blueprint)
    for kind in (StoreUnavailable, StoreUnusable, SQLAlchemyError):
        blueprint.register_error_handler(kind, outage)
    blueprint.register_error_handler(HTTPException, failed)
    # Asked at each request, before any check: the application may set up its own later than us.
    blueprint.url_value_preprocessor(lambda *_: exempt_from_csrf(blueprint))
    return blueprint


def _pages(blueprint: Blueprint) -> None:
    def get(path: str, endpoint: str | None = None) -> Callable[[View], View]:
        return lambda view: blueprint.get(path, endpoint=endpoint or view.__name__)(limited(view))

    def post(path: str, endpoint: str) -> Callable[[View], View]:
        return lambda view: blueprint.post(path, endpoint=endpoint)(limited(view))

    # Both, so that the prefix itself is answered and not sent to its own slash.
    get("/", endpoint="overview")(overview.overview)
    get("", endpoint="overview")(overview.overview)
    get("/recurring")(recurring.recurring)
    get("/recurring/details", endpoint="details")(details.details)
    get("/recurring/edit", endpoint="edit")(editor.edit)
    post("/recurring/edit", endpoint="save")(editor.save)
    post("/recurring/reset", endpoint="reset")(editor.reset)
    post("/recurring/trigger", endpoint="trigger")(recurring.trigger)
    post("/recurring/pause", endpoint="pause")(recurring.pause)
    post("/recurring/resume", endpoint="resume")(recurring.resume)
    post("/recurring/remove", endpoint="remove")(recurring.remove)
    get("/jobs", endpoint="jobs")(jobs.jobs)
    get("/jobs/<state>", endpoint="jobs")(jobs.jobs)
    post("/jobs/requeue", endpoint="requeue")(actions.requeue)
    post("/jobs/delete", endpoint="delete")(actions.delete)
    get("/jobs/details/<int:job_id>", endpoint="job")(job.job)
    get("/jobs/details/<int:job_id>/console", endpoint="tail")(console.tail)
    get("/jobs/details/<int:job_id>/console.txt", endpoint="download")(console.download)
    get("/servers", endpoint="servers")(servers.servers)
    get("/navigation", endpoint="navigation")(navigation.navigation)
    blueprint.get("/static/<version>/<path:place>")(asset)
    # Whatever else is asked for below the prefix is refused by us, behind the same door.
    for rule, methods in (("/<path:place>", ["GET", *UNSAFE]), ("/", UNSAFE), ("", UNSAFE)):
        blueprint.add_url_rule(rule, endpoint="unknown", view_func=unknown, methods=methods)


@cache
def limited(view: View) -> View:
    """The view, with one connection for all that it reads, and no statement that goes on for long:
    who looks at a page would rather hear that it takes too long."""

    @wraps(view)
    def within_limits(**values: Any) -> ResponseReturnValue:
        binding = current_binding()
        with binding.store.database.visit(min(PATIENCE, binding.settings.statement_timeout)):
            return view(**values)

    return within_limits


def failed(error: HTTPException) -> Response:
    """A page of our own for what a view refuses."""
    status = error.code or 500
    texts = {
        400: ("That address is broken", "A part of it can't be read. Start again from the list."),
        404: ("Not here", "It was removed, or never was. Finished jobs are kept for some time."),
        405: ("Not that way", "This address doesn't take such a request."),
    }
    heading, text = texts.get(status, (error.name, error.description or ""))
    return page.message(heading, text, status)


def asset(version: str, place: str) -> Response:
    """``GET /static/<version>/<name>``: kept for ever, unless the address is another version's."""
    found = assets.find(version, place)
    if found is None:
        return page.message("Not here", "There is no such file.", 404)
    response = Response(found.path.read_bytes(), content_type=found.mimetype)
    current = found.version == version
    response.headers["Cache-Control"] = assets.FOREVER if current else "no-cache"
    return response


def unknown(place: str = "") -> Response:
    """Anything that is no page of ours, and every method that a page does not take."""
    abort(404 if request.method in SAFE else 405)


def exempt_from_csrf(blueprint: Blueprint) -> None:
    """Flask-WTF's token is in no form of ours: the origin of a request is checked instead."""
    exempt = getattr(current_app.extensions.get("csrf"), "exempt", None)
    if exempt is not None:
        exempt(blueprint)
