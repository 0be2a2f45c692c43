"""What a run ends as: the one place that decides it."""

from __future__ import annotations

from .._run.context import JobContext
from .._store.transitions import Outcome
from ..errors import JobCancelled

STOPPING = "the server is stopping"
DELETED = "the job was deleted"
TIMED_OUT = "the run took longer than its time limit"


def failure_of(
    context: JobContext, error: BaseException | None, *, late: bool
) -> tuple[Outcome, BaseException] | None:
    """How the run failed, and the error that says so; None if it succeeded.

    A run that was asked to stop and noticed was cut short, however it came back: after it noticed,
    it may return in the middle of its work, or fail for want of the rest. One that never noticed
    has done all its work, or failed by itself.

    :param error: what it raised; None if it returned.
    :param late: it came back after its time limit. Then it did not succeed, whether it looked or
        not: what it did later than that is what the limit was set against.
    """
    # Past ``cancel_reason``: to ask for that is to notice.
    reason, noticed = context.stop_reason, context.stop_noticed
    cut_short = noticed or isinstance(error, JobCancelled)
    if reason == DELETED and (cut_short or error is None):
        return Outcome.CANCELLED, error or JobCancelled(DELETED)
    if reason == STOPPING and cut_short:
        return Outcome.RELEASED, error or JobCancelled(STOPPING)
    if error is not None:
        return Outcome.FAILED, error
    if late:
        return Outcome.FAILED, JobCancelled(TIMED_OUT)
    return None
