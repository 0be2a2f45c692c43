"""Any number of new jobs, set aside in little memory until they are written.

Where they come from is the caller's code, which may be slow, may fail, and may use the database
itself. It runs to its end before the transaction that writes them begins: on SQLite that holds the
one write lock, so that a caller who enqueues meanwhile would wait for himself; on PostgreSQL it
would stand idle for as long, and keep dead rows from being cleaned up everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

import msgspec

from .driver import NewJob
from .hint import Hint, Topic

CHUNK = 5_000
"""Jobs that are written by one statement, at most."""

CHUNK_BYTES = 4 * 1024 * 1024
"""Size of their arguments, about. (One job may have a mebibyte of them.)"""

MEMORY = 8 * 1024 * 1024
"""Bytes that are set aside in memory. More goes to a temporary file."""


class Chunk:
    """Some new jobs, as objects or as JSON: the one is made of the other when it is asked for."""

    __slots__ = ("_jobs", "_packed", "keyed")

    def __init__(
        self, jobs: Sequence[NewJob] | None, packed: bytes | None = None, *, keyed: bool
    ) -> None:
        self._jobs = jobs
        self._packed = packed
        self.keyed = keyed
        """True if some of them have a key."""

    @classmethod
    def of(cls, jobs: Sequence[NewJob]) -> Chunk:
        return cls(jobs, keyed=any(job.key is not None for job in jobs))

    @property
    def jobs(self) -> Sequence[NewJob]:
        """The jobs themselves."""
        return _DECODER.decode(self._packed or b"[]") if self._jobs is None else self._jobs

    @property
    def packed(self) -> bytes:
        """On one line a list of lists, each in the order of a job's fields."""
        if self._packed is not None:
            return self._packed
        return _ENCODER.encode([_in_utc(job) for job in self._jobs or ()])


class Spool:
    """Reads all jobs when it is made, and gives them back in chunks."""

    def __init__(self, jobs: Iterable[NewJob]) -> None:
        self.hints: set[Hint] = set()
        """The hints that the jobs are worth, each once."""
        # The last chunk, which for most calls is the first too, stays as it is.
        self._last: Chunk | None = None
        self._keyed: list[bool] = []
        self._file = SpooledTemporaryFile(max_size=MEMORY)  # noqa: SIM115 - closed by __exit__
        try:
            for chunk in _chunks(jobs):
                if self._last is not None:
                    self._keyed.append(self._last.keyed)
                    self._file.write(self._last.packed + b"\n")
                self._last = Chunk.of(chunk)
                self.hints |= _hints(chunk)
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
        for line, keyed in zip(self._file, self._keyed, strict=True):
            yield Chunk(None, line[:-1], keyed=keyed)
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


def _hints(jobs: Sequence[NewJob]) -> set[Hint]:
    # Nearly all jobs are plain ones of a few lanes, and a hint for each of them would cost as much
    # as all else that is done for it here.
    lanes = {job[2:4] for job in jobs if job.plain}
    others = {job.hint for job in jobs if not job.plain}
    return {Hint(Topic.JOB, *lane) for lane in lanes} | {hint for hint in others if hint}


def _in_utc(job: NewJob) -> NewJob:
    # JSON's times know no zone whose distance from UTC has seconds.
    if job.run_at is None and job.due is None:
        return job
    return job._replace(
        run_at=None if job.run_at is None else job.run_at.astimezone(UTC),
        due=None if job.due is None else job.due.astimezone(UTC),
    )


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[NewJob])
