"""Keys: each names one job at a time, that which was enqueued under it and is not finished yet.

A job that finishes keeps its key until another job is enqueued under it: then it is taken away, and
the other one written. So the statements that write how runs ended know nothing of keys, and no two
jobs that are not finished ever have the same one. Who enqueues may also be content with a job that
is finished (``NewJob.key_kept``): then the key stays where it is until the job is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from .records import NewJob


class Keys:
    """Finds the job that has a key, and takes it away from one that is finished."""

    def __init__(self, job: sa.Table, select: Callable[[], sa.Select[Any]]) -> None:
        self._job = job
        self._select = select

    def holder(
        self, execute: Callable[[sa.Executable], sa.Result[Any]], job: NewJob
    ) -> sa.Row[Any] | None:
        """The row, as of ``Listing.select``, of the job that is there in the place of a new one.

        None if the key is free, or is so now: then the new one should be written once more. Whoever
        comes between that and this is found by the next call.
        """
        named = self._job.c.key == job.key
        found = execute(self._select().where(named)).first()
        if found is None or found.finished_at is None or job.key_kept:
            return found
        # Asked again: it may have been requeued since it was read.
        execute(
            sa.update(self._job).where(named, self._job.c.finished_at.is_not(None)).values(key=None)
        )
        return None


def claimed_keys(jobs: Sequence[NewJob]) -> list[str]:
    """The keys that finished jobs have to give up to these: those that none of them lets stay."""
    kept = {job.key for job in jobs if job.key_kept}
    return sorted({job.key for job in jobs if job.key is not None} - kept)
