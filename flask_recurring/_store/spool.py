"""Any number of new jobs, set aside in little memory until they are written.

Where they come from is the caller's code, which may be slow, may fail, and may use the database
itself. It runs to its end before the transaction that writes them begins: on SQLite that holds the
one write lock, so that a caller who enqueues meanwhile would wait for himself; on PostgreSQL it
would stand idle for as long, and keep dead rows from being cleaned up everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from datetime import UTC
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

import msgspec

from .notification import Notification
from .records import NewJob

CHUNK = 5_000
"""Jobs that are written by one statement, at most."""

CHUNK_BYTES = 4 * 1024 * 1024
"""Size of their arguments, about. (One job may have a mebibyte of them.)"""

MEMORY = 8 * 1024 * 1024
"""Bytes that are set aside in memory. More goes to a temporary file."""


class Chunk:
    """Some new jobs, as objects or as JSON: the one is made of the other when it is asked for."""

    __slots__ = ("_jobs", "_packed", "keyed", "notifications", "timed")

    def __init__(self, jobs: Sequence[NewJob]) -> None:
        self._jobs: Sequence[NewJob] | None = jobs
        self._packed: bytes | None = None
        # Nearly all jobs of a chunk are of a few kinds.
        kinds = [NewJob("", "", *kind) for kind in {job[2:] for job in jobs}]
        self.keyed = any(kind.key is not None for kind in kinds)
        """True if some of them have a key."""
        self.timed = any(kind.run_at is not None or kind.due is not None for kind in kinds)
        """True if some of them name a time."""
        self.notifications = {found for kind in kinds if (found := kind.notification) is not None}
        """The notifications that they are worth, each once."""

    @property
    def jobs(self) -> Sequence[NewJob]:
        """The jobs themselves."""
        return _DECODER.decode(self._packed or b"[]") if self._jobs is None else self._jobs

    @property
    def packed(self) -> bytes:
        """On one line a list of lists, each in the order of a job's fields."""
        if self._packed is not None:
            return self._packed
        jobs = self._jobs or ()
        return _ENCODER.encode([_in_utc(job) for job in jobs] if self.timed else jobs)

    def holding(self, packed: bytes | None) -> Chunk:
        """One like this, that holds nothing of the jobs but this JSON, or not even that."""
        chunk = copy(self)
        chunk._jobs, chunk._packed = None, packed
        return chunk


class Spool:
    """Reads all jobs when it is made, and gives them back in chunks."""

    def __init__(self, jobs: Iterable[NewJob]) -> None:
        self.notifications: set[Notification] = set()
        """The notifications that the jobs are worth, each once."""
        # The last chunk, which for most calls is the first too, stays as it is. Of the others the
        # content is in the file.
        self._last: Chunk | None = None
        self._filed: list[Chunk] = []
        self._file = SpooledTemporaryFile(max_size=MEMORY)  # noqa: SIM115 - closed by __exit__
        try:
            for some in _chunks(jobs):
                if self._last is not None:
                    self._file.write(self._last.packed + b"\n")
                    self._filed.append(self._last.holding(None))
                self._last = Chunk(some)
                self.notifications |= self._last.notifications
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __bool__(self) -> bool:
        return self._last is not None

    def __iter__(self) -> Iterator[Chunk]:
        self._file.seek(0)
        for chunk, line in zip(self._filed, self._file, strict=True):
            yield chunk.holding(line[:-1])
        if self._last is not None:
            yield self._last


def _chunks(jobs: Iterable[NewJob]) -> Iterator[list[NewJob]]:
    chunk: list[NewJob] = []
    size = 0
    for job in jobs:
        chunk.append(job)
        size += len(job.arguments)
        if len(chunk) == CHUNK or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _in_utc(job: NewJob) -> NewJob:
    # JSON's times know no zone whose distance from UTC has seconds.
    return job._replace(
        run_at=None if job.run_at is None else job.run_at.astimezone(UTC),
        due=None if job.due is None else job.due.astimezone(UTC),
    )


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[NewJob])
