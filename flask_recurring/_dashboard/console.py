"""What a run writes: the panel on the job's page, its live tail, and the text to keep.

The tail asks for what came after the last line that it has. Lines are appended where they belong;
a bar that is there already is replaced, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Response, abort, request

from .._flask.binding import current_binding
from .._run.console import COLORS
from ..job import Job, JobState
from .format import ESCAPE_SEQUENCE, offset, percent
from .page import environment, fragment

AT_ONCE = 1000
"""Lines in one answer."""
RECENT = 200
"""Bars whose values travel in each answer. Older ones do if they are pinned, and at the end."""
PINNED = 3
"""Unfinished bars that stay in sight while lines scroll past."""
LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})


@dataclass(frozen=True, slots=True)
class Row:
    """A line or a bar, at its place in the run."""

    seq: int
    at: datetime
    text: str
    color: str | None
    level: str | None
    value: float | None
    """None for a line."""
    pin: int | None = None
    """Which of the pinned bars this is."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One run's console as it stands."""

    job: Job
    claim: int
    claims: list[int]
    rows: list[Row]
    start: datetime | None
    last: int
    """Sequence number of the newest row that is here; the tail goes on from it."""
    live: bool
    """True if more may come: the run goes on, or not all lines are here yet."""


def shown_claim(job: Job, claims: list[int], asked: int | None) -> int:
    """The run whose console is shown: the one asked for, the one that runs, or the newest."""
    if asked is not None:
        return asked
    if job.state is JobState.PROCESSING or not claims:
        return job.claim
    return claims[-1]


def panel(job: Job, claims: list[int], claim: int) -> Panel:
    """The console of one run, as far as one answer holds it."""
    running = job.state is JobState.PROCESSING
    rows, whole = _rows(job.id, claim, 0)
    return Panel(
        job=job,
        claim=claim,
        claims=claims,
        rows=rows,
        start=_start(job, claim, rows),
        last=max((row.seq for row in rows), default=0),
        live=(running and claim == job.claim) or not whole,
    )


def tail(job_id: int) -> Response:
    """``GET /jobs/details/<id>/console?claim=…&after=…``: what is new, and every bar's value."""
    job = _job(job_id)
    claim = request.args.get("claim", job.claim, type=int)
    after = request.args.get("after", 0, type=int)
    # First whether it still runs, then the lines: its last lines are written before it is done.
    running = job.state is JobState.PROCESSING and job.claim == claim
    rows, whole = _rows(job_id, claim, after)
    done = not running and whole
    known = [row for row in rows if row.seq <= after]
    values: dict[str, Any] = {
        "rows": [row for row in rows if row.seq > after],
        "bars": known if done else _changing(known),
        "start": _start(job, claim, rows),
        "claim": claim,
    }
    body = environment().get_template("recurring/tail.html").render(values).strip()
    if not body and not done:
        return Response(status=204)
    return fragment(body, finished=done)


def download(job_id: int) -> Response:
    """``GET /jobs/details/<id>/console.txt?claim=…``: the whole console as plain text."""
    job = _job(job_id)
    claim = request.args.get("claim", job.claim, type=int)
    rows: list[Row] = []
    whole = False
    while not whole:
        last = rows[-1].seq if rows else 0
        found, whole = _rows(job_id, claim, last)
        rows += [row for row in found if row.seq > last]
    start = _start(job, claim, rows)
    text = "".join(f"{line}\n" for line in _as_text(rows, start))
    return Response(
        text,
        mimetype="text/plain",
        headers={"Content-Disposition": f'attachment; filename="job-{job_id}-run-{claim}.txt"'},
    )


def _job(job_id: int) -> Job:
    found = current_binding().store.jobs.get(job_id)
    if found is None:
        abort(404)
    return found


def _rows(job_id: int, claim: int, after: int) -> tuple[list[Row], bool]:
    """Lines after a sequence number, and all bars, in order; and whether these are all lines."""
    found = current_binding().store.console.read(job_id, claim, after, AT_ONCE)
    lines = [
        Row(line.seq, line.at, line.text, _color(line.color), _level(line.level), None)
        for line in found.lines
    ]
    pins = iter(range(PINNED))
    bars = [
        Row(
            seq=bar.seq,
            at=bar.at,
            text=ESCAPE_SEQUENCE.sub("", bar.name),
            color=_color(bar.color),
            level=None,
            value=bar.value,
            pin=_pin(bar.value, pins),
        )
        for bar in found.bars
        if found.whole or bar.seq < lines[-1].seq
    ]
    return sorted([*lines, *bars], key=lambda row: row.seq), found.whole


def _changing(bars: list[Row]) -> list[Row]:
    """Bars that the page has, and that may look otherwise now."""
    return [*(bar for bar in bars[:-RECENT] if bar.pin is not None), *bars[-RECENT:]]


def _pin(value: float, free: Iterator[int]) -> int | None:
    return next(free, None) if value < 100 else None


def _start(job: Job, claim: int, rows: list[Row]) -> datetime | None:
    """When the run began; an earlier run's console counts from its own first row."""
    if claim == job.claim and job.started_at is not None:
        return job.started_at
    for attempt in current_binding().store.jobs.attempts(job.id):
        if attempt.claim == claim:
            return attempt.started_at
    return rows[0].at if rows else None


def _color(name: str | None) -> str | None:
    return name if name in COLORS else None


def _level(name: str | None) -> str | None:
    lowered = (name or "").lower()
    return lowered if lowered in LEVELS else None


def _as_text(rows: list[Row], start: datetime | None) -> Iterator[str]:
    for row in rows:
        since = offset(row.at - start) if start else ""
        if row.value is None:
            text = ESCAPE_SEQUENCE.sub("", row.text).replace("\n", "\n" + 14 * " ")
        else:
            text = f"[{row.text or 'progress'}] {percent(row.value)}"
        yield f"{since:>12}  {text}"
