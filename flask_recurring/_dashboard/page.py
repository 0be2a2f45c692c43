"""How the dashboard answers: a whole page for a browser, only its live part for htmx.

Each page is one template with a block ``live``, which the page asks for again every few seconds.
That part carries an ETag, so as long as nothing changed the answer is an empty 304. The
templates have an environment of their own: what the application does to its own environment
(other delimiters, other escaping) does not reach them.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from typing import Any

from flask import Response, request, url_for
from flask_htmx import HTMX  # type: ignore[import-untyped]
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .._flask.binding import current_binding
from ..job import JobState
from ..version import VERSION
from . import assets, figures, format
from .access import Access
from .notice import Notice
from .security import granted

STOP_POLLING = 286
"""htmx's status for "swap this in and ask no more"."""

SMALL = 1000
"""Bytes that are sent as they are: they fit into a packet anyway."""

QUICK = 5
"""How hard gzip tries. It takes a millisecond for a list of a hundred kilobytes."""

htmx = HTMX()


def wants_fragment() -> bool:
    """True if htmx asks for a part of the page, False if the browser asks for all of it."""
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def answer(
    template: str,
    *,
    notice: Notice | None = None,
    finished: bool = False,
    status: int = 200,
    **values: Any,
) -> Response:
    """The page, or its block ``live``. A ``finished`` one tells htmx to stop asking."""
    values |= {
        "notice": notice,
        "finished": finished,
        "can_operate": granted() is Access.OPERATE,
        "polling": polling(),
        "title": current_binding().settings.dashboard_title,
    }
    if not wants_fragment():
        return whole(template, status=status, **values)
    found = environment().get_template(f"recurring/{template}")
    body = "".join(found.blocks["live"](found.new_context({**values, "fragment": True})))
    return fragment(body, finished=finished)


def whole(template: str, *, status: int = 200, **values: Any) -> Response:
    """The whole page inside the frame that all pages share."""
    binding = current_binding()
    shared = {
        "fragment": False,
        "back_url": binding.settings.dashboard_back_url,
        "description": figures.description(),
        "now": binding.store.now(),
        "counts": figures.counts(),
        "processing": figures.processing(),
        "live_servers": figures.live_servers(),
        "version": VERSION,
    }
    body = environment().get_template(f"recurring/{template}").render(shared | values)
    return Response(body, status=status, mimetype="text/html")


def fragment(body: str, *, finished: bool = False) -> Response:
    """A part of a page with an ETag; 304 if the browser has it already."""
    if finished:
        return compressed(Response(body, status=STOP_POLLING, mimetype="text/html"))
    response = Response(body, mimetype="text/html")
    # A weak one: it is the same part, whether it is sent compressed or not.
    response.set_etag(hashlib.sha256(body.encode()).hexdigest()[:32], weak=True)
    if request.method == "GET":
        response.make_conditional(request)
    return response if response.status_code == 304 else compressed(response)


def compressed(response: Response) -> Response:
    """The answer as gzip, if the browser takes that and only our own page can have asked for it.

    What is compressed tells by its length how much of it is alike. A page of another site could let
    the browser ask again and again, with guesses in the address that stand in the answer beside
    what is secret (BREACH). But it can't make it send htmx's header, so no whole page is compressed
    and each live part may be.
    """
    response.vary.add("Accept-Encoding")
    taken = request.accept_encodings.quality("gzip") > 0
    if wants_fragment() and taken and len(response.data) >= SMALL:
        response.data = gzip.compress(response.data, QUICK, mtime=0)
        response.headers["Content-Encoding"] = "gzip"
    return response


def message(
    heading: str,
    text: str,
    status: int,
    hint: str | None = None,
    *,
    retry: bool = False,
    again: str | None = None,
) -> Response:
    """A page that only says something. It shows no data, and needs no database.

    :param hint: code to show below the text.
    :param retry: whether the page tries by itself to come back.
    :param again: the address to try; None for the one that was asked for.
    """
    body = (
        environment()
        .get_template("recurring/message.html")
        .render(heading=heading, text=text, hint=hint, retry=retry, again=again, status=status)
    )
    return Response(body, status=status, mimetype="text/html")


def polling(faster: float | None = None) -> str:
    """How often a part asks again, as htmx writes it; the event comes when a tab is seen again."""
    seconds = current_binding().settings.dashboard_poll_interval
    if faster is not None:
        seconds = min(seconds, faster)
    return f"every {round(seconds * 1000)}ms, wake"


@cache
def environment() -> Environment:
    """The templates' own environment. Everything is escaped, and a missing name is an error."""
    made = Environment(
        loader=FileSystemLoader(assets.templates()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(url=url, asset=asset_url, States=JobState)
    made.filters.update(
        duration=format.duration,
        offset=format.offset,
        number=format.number,
        percent=format.percent,
        iso=format.iso,
        moment=format.moment,
        pretty_json=format.pretty_json,
        traceback_lines=format.traceback_lines,
        console_text=format.console_text,
        call=format.one_line_call,
    )
    made.globals["ui"] = made.get_template("recurring/ui.html").module
    return made


def url(endpoint: str, **values: Any) -> str:
    """The address of one of the dashboard's pages; parameters that are None are left out."""
    return url_for(f".{endpoint}", **{k: v for k, v in values.items() if v is not None})


def asset_url(name: str) -> str:
    """The address of an asset, which changes with its content."""
    asset = assets.all_assets()[name]
    return url("asset", version=asset.version, place=asset.place)


def go_to(address: str) -> Response:
    """On to another page after an action: htmx is told in a header, a browser by a redirect."""
    if wants_fragment():
        return Response(status=204, headers={"HX-Redirect": address})
    return Response(status=303, headers={"Location": address})
