"""The editor, in which an operator overrides what the code declares.

A GET with values in its address shows them in the form, with errors and the due times that they
give, and saves nothing. With htmx this is a live preview; without scripts a button asks for it.
"""

from __future__ import annotations

import zoneinfo
from functools import cache

from flask import Response, abort, request

from .._flask.binding import current_binding
from .._recurring.recurring_job import RecurringJob
from ..errors import ConfigurationError, UnknownRecurringJobError
from . import notice as notices
from .access import Access
from .details import details
from .draft import Draft
from .due_times import following, wording
from .figures import shared
from .form_input import INPUTS
from .jobs import known_queues
from .notice import Notice
from .page import answer, go_to, message, url, wants_fragment
from .security import commands, granted


def edit() -> Response:
    """``GET /recurring/edit?id=…``: the form, with the values that the address holds."""
    if granted() is not Access.OPERATE:
        return message("You may look, not touch", "You have read access: it shows everything.", 403)
    return _form(Draft.of(_job(), request.args))


def save() -> Response:
    """``POST /recurring/edit``: override what was changed in the form."""
    draft = Draft.of(_job(), request.form)
    identifier = draft.job.id
    if not draft.errors and draft.changed:
        try:
            commands().write_over(identifier, draft.values, draft.dropped)
            shared().forget()
        except UnknownRecurringJobError:
            abort(404)
        except ConfigurationError as error:  # it does not fit what somebody else has set meanwhile
            draft.refuse(error, "cron")
    if draft.errors:
        return _form(draft, 422)
    return go_to(url("details", id=identifier, told="saved" if draft.changed else None))


def reset() -> Response:
    """``POST /recurring/reset``: let the code's value of an ``option``, or of all, count again."""
    identifier = request.form.get("id", "")
    option = request.args.get("option")
    if option is not None and option not in INPUTS:
        abort(400)
    names = None if option is None else [option]
    try:
        commands().reset(identifier, names)
        shared().forget()
    except UnknownRecurringJobError:
        abort(404)
    if wants_fragment():
        return details(Notice(notices.RECURRING["reset"]))
    return go_to(url("details", id=identifier, told="reset"))


def _job() -> RecurringJob:
    found = current_binding().store.recurring.get(request.values.get("id", ""))
    return found or abort(404)


def _form(draft: Draft, status: int = 200) -> Response:
    store = current_binding().store
    schedule = draft.schedule
    return answer(
        "edit.html",
        status=status,
        at="recurring",
        job=draft.job,
        draft=draft,
        words="" if schedule is None else wording(schedule.cron),
        coming=[] if schedule is None else following(schedule, store.now()),
        zone=None if schedule is None else schedule.timezone,
        zones=() if wants_fragment() else zones(),
        queues=known_queues(),
    )


@cache
def zones() -> tuple[str, ...]:
    """The zones to choose from, with a place in their names; UTC first."""
    return ("UTC", *sorted(name for name in zoneinfo.available_timezones() if "/" in name))
