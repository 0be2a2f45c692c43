"""The jobs by state: keyset pages and filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, abort, request

from .._flask.binding import current_binding
from .._store import LISTED, LOOK, Cursor, Page
from ..job import JobState
from . import figures
from . import notice as notices
from .notice import Notice
from .page import answer, wants_fragment

FURTHER = 10 * LOOK
"""Jobs that are looked at by who goes on looking: by a click, and not every two seconds."""

STATES = {state.value.lower(): state for state in JobState}


@dataclass(frozen=True, slots=True)
class Filter:
    """What the address asks to see: every part of it is in the address, so it can be shared."""

    state: JobState | None
    queue: str | None = None
    task: str | None = None
    recurring_id: str | None = None
    before: str | None = None
    after: str | None = None

    @classmethod
    def read(cls, state: str | None = None) -> Filter:
        """From the request. 404 for a state that doesn't exist."""
        wanted = (state or request.args.get("state", "")).lower()
        if wanted and wanted not in STATES:
            abort(404)
        names = ("queue", "task", "recurring_id", "before", "after")
        return cls(
            STATES.get(wanted), *(request.args.get(name, "").strip() or None for name in names)
        )

    @property
    def slug(self) -> str | None:
        """The state as it stands in the address; None for all states."""
        return self.state.value.lower() if self.state else None

    @property
    def narrowed(self) -> bool:
        """True if more than the state is asked for."""
        return bool(self.queue or self.task or self.recurring_id)

    def query(self, **changes: Any) -> dict[str, Any]:
        """The address's parameters. Whatever changes, the pages start anew."""
        values = {
            "state": self.slug,
            "queue": self.queue,
            "task": self.task,
            "recurring_id": self.recurring_id,
        }
        if not changes:
            values |= {"before": self.before, "after": self.after}
        return {name: value for name, value in (values | changes).items() if value is not None}

    def cursor(self, which: str) -> Cursor | None:
        """The row to go on from. 400 if somebody cut the address short."""
        text = self.before if which == "before" else self.after
        try:
            return Cursor.parse(text) if text else None
        except ValueError:
            abort(400)


def jobs(state: str | None = None, notice: Notice | None = None) -> Response:
    """``GET /jobs`` and ``GET /jobs/<state>``."""
    binding = current_binding()
    wanted = Filter.read(state)
    before, after = wanted.cursor("before"), wanted.cursor("after")
    look = LOOK if before is None and after is None else FURTHER

    def ask() -> Page:
        return binding.store.jobs.page(
            wanted.state,
            queue=wanted.queue,
            task=wanted.task,
            recurring_id=wanted.recurring_id,
            before=before,
            after=after,
            limit=binding.settings.dashboard_page_size,
            look=look,
        )

    page = figures.shared().get(wanted, ask)
    return answer(
        "jobs.html",
        at="jobs",
        wanted=wanted,
        page=page,
        look=look,
        # What was looked for with so much effort is not looked for again by itself.
        finished=page.cut and look > LOOK,
        counts=figures.counts(),
        order=order(wanted),
        processing=figures.processing(),
        paused=figures.paused_queues(),
        tasks=binding.registry.tasks,
        queues=known_queues(),
        notice=notice or _told(),
    )


def order(wanted: Filter) -> str:
    """How the list is sorted, in words."""
    rising = wanted.state is not None and LISTED[wanted.state].ascending
    if wanted.recurring_id is not None:
        return "Oldest first" if rising else "Newest first"
    if wanted.state is JobState.PROCESSING:
        return "Longest running first"
    if rising:
        return "Next to run first"
    if wanted.state is not None and wanted.state.finished:
        return f"Last {wanted.state.value.lower()} first"
    return "Newest first"


def known_queues() -> list[str]:
    """Queues to offer in the filter: those of our own tasks."""
    return sorted({task.defaults.queue for task in current_binding().registry.tasks.values()})


def _told() -> Notice | None:
    """The notice that a redirect carries."""
    return None if wants_fragment() else notices.of_jobs(request.args.get("told", ""))
