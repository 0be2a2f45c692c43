"""Jobs that are set aside before they are written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from flask_recurring._store import NewJob, Notification, Topic
from flask_recurring._store import spool as spooling
from flask_recurring._store.spool import CHUNK_BYTES, Chunk, Spool
from tests.store.samples import new_job

ODD = timezone(timedelta(hours=5, seconds=7))
"""A zone that JSON's times can't name."""


def full(number: int) -> NewJob:
    """A job with a value of its own in each field."""
    moment = datetime(2031, 1, 1, tzinfo=ODD) + timedelta(seconds=number, microseconds=1)
    return NewJob(
        task=f"task {number}",
        arguments=f'[["{number}\\n\\u0000é\N{SNOWMAN}"],{{}}]',
        queue=f"queue-{number}",
        priority=-number,
        run_at=moment,
        delay=number / 3,
        recurring_id=f"id {number}",
        due=moment + timedelta(hours=1),
        key=f"key {number}\n",
        options='{"timeout":9}',
        key_kept=True,
    )


@pytest.mark.parametrize("memory", [8_000_000, 1], ids=["in memory", "in a file"])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 10])
def test_jobs_come_back_in_chunks_as_they_were(
    count: int, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "CHUNK", 3)
    monkeypatch.setattr(spooling, "MEMORY", memory)
    given = [full(number) if number % 2 else new_job() for number in range(count)]
    with Spool(iter(given)) as spool:
        assert bool(spool) == (count > 0)
        for _ in range(2):
            chunks = list(spool)
            assert [job for chunk in chunks for job in chunk.jobs] == given
            assert all(len(chunk.jobs) == 3 for chunk in chunks[:-1])
            for chunk in chunks:
                again = Chunk(chunk.jobs)
                assert (chunk.packed, chunk.notifications) == (again.packed, again.notifications)
                assert chunk.keyed == any(job.key for job in chunk.jobs)
                assert chunk.timed == any(job.due for job in chunk.jobs)


def test_large_jobs_come_in_small_chunks() -> None:
    large = new_job(arguments=f'[["{"x" * (CHUNK_BYTES // 4)}"],{{}}]')
    with Spool(large for _ in range(9)) as spool:
        assert [len(chunk.jobs) for chunk in spool] == [4, 4, 1]


def test_hints_are_gathered_on_the_way() -> None:
    moment = datetime.now(UTC)
    jobs = [
        *[new_job(), new_job(queue="mail"), new_job(), new_job(delay=3600)],
        *[new_job(delay=1, priority=3), new_job(queue="ticks", due=moment)],
        new_job(queue="late", run_at=moment + timedelta(hours=1)),
    ]
    with Spool(jobs) as spool:
        assert spool.notifications == {
            Notification(Topic.JOB, "default"),
            Notification(Topic.JOB, "mail"),
            Notification(Topic.LATER, "default", 3),
            Notification(Topic.TICK, "ticks"),
        }


def test_an_error_on_the_way_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "CHUNK", 2)
    monkeypatch.setattr(spooling, "MEMORY", 1)

    def jobs() -> Iterator[NewJob]:
        yield from [new_job()] * 5
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        Spool(jobs())
