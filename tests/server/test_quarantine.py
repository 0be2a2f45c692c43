"""A job that may be what kills servers runs alone, and others are released meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flask_recurring._server import quarantine as module
from flask_recurring._server.prefetch_buffer import PrefetchBuffer
from flask_recurring._server.quarantine import POISON_CANDIDATE, Quarantine
from flask_recurring._store.claim import LOST_LIMIT, Claimed


def job(number: int, lost: int = 0) -> Claimed:
    run_at = datetime.now(UTC)
    return Claimed(number, 1, 1, "work", "[]", "default", 0, run_at, 0.0, None, None, None, lost)


def candidate(number: int) -> Claimed:
    return job(number, POISON_CANDIDATE)


def test_without_candidates_everything_is_kept() -> None:
    quarantine = Quarantine(PrefetchBuffer(1))
    jobs = [job(1), job(2)]
    assert quarantine.split(jobs) == (jobs, ())
    assert not quarantine.blocks
    assert quarantine.lost_below == LOST_LIMIT


def test_a_candidate_waits_until_all_that_came_before_it_has_begun() -> None:
    buffer = PrefetchBuffer(1)
    quarantine = Quarantine(buffer)
    before, found, after = job(1), candidate(2), job(3)
    assert quarantine.split([before, found, after]) == ([before], [found, after])
    buffer.put([before])
    assert quarantine.blocks
    assert not quarantine.update()
    buffer.empty()
    assert quarantine.update()
    assert not quarantine.blocks


def test_a_candidate_is_held_alone_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET", 0.0)
    buffer = PrefetchBuffer(1)
    quarantine = Quarantine(buffer)
    found, second = candidate(1), candidate(2)
    assert quarantine.split([found, second]) == ([found], [second])
    buffer.put([found])
    assert not quarantine.update()
    assert quarantine.occupied
    assert not quarantine.blocks, "others may run beside it after the quiet time"
    assert quarantine.lost_below == POISON_CANDIDATE, "but no second candidate"
    buffer.written({(found.id, found.claim)})
    assert quarantine.update()
    assert not quarantine.occupied
    assert quarantine.lost_below == LOST_LIMIT


def test_nothing_begins_beside_a_candidate_at_first() -> None:
    quarantine = Quarantine(PrefetchBuffer(1))
    quarantine.split([candidate(1)])
    assert quarantine.blocks
