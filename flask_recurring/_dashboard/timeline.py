"""A job's runs on one axis of time, with waiting and running apart.

Each run is a lane. In it lie up to three spans: *planned* (a delay that somebody wanted: a
schedule, or the pause before a retry), *waiting* (due, but no server had taken it) and *running*.
What goes on now is drawn to the end of an axis that grows in steps, so the drawing, and with it
the page's ETag, stays the same until the next step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..job import Attempt, Job, JobState

WIDTH = 1000.0
THINNEST = 5.0
"""Width of a span that is too short to be drawn to scale."""
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400)
ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a lane, in units of the drawing."""

    kind: str
    x: float
    width: float
    open: bool


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the job, or the run to come."""

    number: int
    outcome: str
    """An attempt's outcome, or the job's state for the run that it tells of."""
    claim: int | None
    server: str | None
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    planned: timedelta
    waited: timedelta | None
    ran: timedelta | None
    spans: tuple[Span, ...]
    attempt: Attempt | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """All runs, oldest first, and the length of their axis."""

    runs: tuple[Run, ...]
    start: datetime
    end: datetime
    open: bool

    @property
    def length(self) -> timedelta:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class _Piece:
    number: int
    outcome: str
    begin: datetime
    due: datetime
    started: datetime | None
    finished: datetime | None
    server: str | None
    claim: int | None
    attempt: Attempt | None


def timeline(job: Job, attempts: Sequence[Attempt], now: datetime) -> Timeline:
    """The runs of a job, from the attempts that failed and the job's own last run."""
    chunked = _past(job, attempts)
    last = _last(job, attempts, chunked[-1] if chunked else None)
    if last is not None:
        chunked.append(last)
    start = job.created_at
    ends = [moment for piece in chunked for moment in (piece.due, piece.started, piece.finished)]
    end = max([start, *(moment for moment in ends if moment is not None)])
    growing = not job.state.finished
    if growing and now > end:
        end = start + round_up(now - start)
    end = max(end, start + timedelta(milliseconds=1))
    return Timeline(
        runs=tuple(_run(piece, start, end) for piece in chunked), start=start, end=end, open=growing
    )


def round_up(length: timedelta) -> timedelta:
    """The next length at which an axis ends."""
    seconds = length.total_seconds()
    for step in STEPS:
        if seconds <= step:
            return timedelta(seconds=step)
    return timedelta(days=int(seconds // 86_400) + 1)


def _past(job: Job, attempts: Sequence[Attempt]) -> list[_Piece]:
    chunked: list[_Piece] = []
    begin, due = job.created_at, job.created_at
    for attempt in attempts:
        chunked.append(
            _Piece(
                number=attempt.attempt,
                outcome=attempt.outcome,
                begin=begin,
                due=min(max(due, begin), max(attempt.started_at, begin)),
                started=attempt.started_at,
                finished=attempt.finished_at,
                server=attempt.server,
                claim=attempt.claim,
                attempt=attempt,
            )
        )
        begin = attempt.finished_at
        due = attempt.retry_at or attempt.finished_at
    return chunked


def _last(job: Job, attempts: Sequence[Attempt], before: _Piece | None) -> _Piece | None:
    """The run that the job's own row tells of; None if the attempts have told it already."""
    told = before is not None and before.claim == job.claim
    began = job.started_at is not None and not told
    if job.state.finished and not began:
        return None
    begin = before.finished if before and before.finished else job.created_at
    pending = job.state in (JobState.SCHEDULED, JobState.ENQUEUED, JobState.AWAITING)
    started = job.started_at if began and not pending else None
    due = max(job.run_at, begin)
    if started is not None:
        due = min(due, max(started, begin))
    return _Piece(
        number=job.attempt + 1 if pending else job.attempt,
        outcome=job.state.value,
        begin=begin,
        due=due,
        started=started,
        finished=job.finished_at if started is not None else None,
        server=job.server if started is not None else None,
        claim=job.claim if started is not None else None,
        attempt=None,
    )


def _run(piece: _Piece, start: datetime, end: datetime) -> Run:
    waited = None if piece.started is None else max(piece.started - piece.due, ZERO)
    ran = None
    if piece.started is not None and piece.finished is not None:
        ran = max(piece.finished - piece.started, ZERO)
    return Run(
        number=piece.number,
        outcome=piece.outcome,
        claim=piece.claim,
        server=piece.server,
        due_at=piece.due,
        started_at=piece.started,
        finished_at=piece.finished,
        planned=max(piece.due - piece.begin, ZERO),
        waited=waited,
        ran=ran,
        spans=_spans(piece, start, end),
        attempt=piece.attempt,
    )


def _spans(piece: _Piece, start: datetime, end: datetime) -> tuple[Span, ...]:
    whole = (end - start) / timedelta(microseconds=1)

    def place(moment: datetime) -> float:
        return (moment - start) / timedelta(microseconds=1) / whole * WIDTH

    spans: list[Span] = []

    def add(kind: str, begin: datetime, until: datetime | None) -> None:
        x, right = place(begin), place(until or end)
        if until is not None and until <= begin:
            return
        width = max(right - x, THINNEST)
        x = min(x, WIDTH - width)
        spans.append(Span(kind, round(x, 1), round(width, 1), until is None))

    add("planned", piece.begin, piece.due)
    if piece.started is None:
        if piece.due < end:
            add("waiting", piece.due, None)
        return tuple(spans)
    add("waiting", piece.due, piece.started)
    add("running", piece.started, piece.finished)
    return tuple(spans)
