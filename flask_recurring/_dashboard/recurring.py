"""The recurring jobs: the list, and what one can do to them.

An id is whatever the user chose, slashes and all, so it never stands in the path: it travels as
the parameter ``id``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Response, abort, request

from .._flask.binding import current_binding
from .._store import Bookmark, Order
from ..errors import UnknownRecurringJobError
from .details import details, told
from .due_times import wording
from .figures import shared
from .notice import Notice
from .page import answer, go_to, url, wants_fragment
from .security import commands

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class View:
    """What the address asks to see of the list: every part is in it, so it can be shared."""

    words: str
    order: Order
    before: str | None
    after: str | None

    @classmethod
    def read(cls) -> View:
        sort = request.args.get("sort", "")
        return cls(
            request.args.get("q", "").strip(),
            Order(sort) if sort in list(Order) else Order.ID,
            request.args.get("before") or None,
            request.args.get("after") or None,
        )

    def query(self, **changes: Any) -> dict[str, Any]:
        """The address's parameters, without those that say nothing. Whatever changes, the pages
        start anew."""
        values: dict[str, Any] = {"q": self.words, "sort": self.order.value}
        if not changes:
            values |= {"before": self.before, "after": self.after}
        silent = {"q": "", "sort": Order.ID.value}
        values |= changes
        return {name: value for name, value in values.items() if value != silent.get(name)}

    def place(self, which: str) -> Bookmark | None:
        """The recurring job to go on from. 400 if somebody cut the address short."""
        text = self.before if which == "before" else self.after
        try:
            return Bookmark.parse(text) if text else None
        except ValueError:
            abort(400)


def recurring(notice: Notice | None = None) -> Response:
    """``GET /recurring``."""
    binding = current_binding()
    view = View.read()
    page = binding.store.recurring.page(
        view.words,
        order=view.order,
        before=view.place("before"),
        after=view.place("after"),
        limit=binding.settings.dashboard_page_size,
    )
    return answer(
        "recurring.html",
        at="recurring",
        view=view,
        page=page,
        total=binding.store.recurring.count() if view.words else page.total,
        wording=wording,
        notice=notice or told(),
    )


def trigger() -> Response:
    """``POST /recurring/trigger``: run it now, whatever its schedule says."""
    identifier = request.form.get("id", "")
    job = _try(commands().trigger, identifier)
    return _back("triggered", Notice(f"Triggered {identifier}.", job.id))


def pause() -> Response:
    """``POST /recurring/pause``: no more ticks until it is resumed."""
    identifier = request.form.get("id", "")
    _try(commands().pause, identifier)
    return _back("paused", Notice(f"Paused {identifier}."))


def resume() -> Response:
    """``POST /recurring/resume``: ticks again, from where it was paused on: its misfire policy
    decides about what it missed meanwhile."""
    identifier = request.form.get("id", "")
    _try(commands().resume, identifier)
    return _back("resumed", Notice(f"Resumed {identifier}."))


def remove() -> Response:
    """``POST /recurring/remove``: the recurring job goes, its past jobs stay."""
    identifier = request.form.get("id", "")
    _try(commands().remove, identifier)
    return _back("removed", Notice(f"Removed {identifier}."))


def _try(action: Callable[[str], Outcome], identifier: str) -> Outcome:
    try:
        done = action(identifier)
        shared().forget()
        return done
    except UnknownRecurringJobError:
        abort(404)


def _back(told: str, notice: Notice) -> Response:
    """To where the button was: at once for htmx, by a redirect for a plain form."""
    on_details = request.args.get("back") == "details"
    if on_details and told == "removed":
        return go_to(url("recurring", told=told))
    if wants_fragment():
        return details(notice) if on_details else recurring(notice)
    if on_details:
        identifier = request.form.get("id", "")
        return go_to(url("details", id=identifier, told=told, job=notice.job_id))
    return go_to(url("recurring", **View.read().query(), told=told, job=notice.job_id))
