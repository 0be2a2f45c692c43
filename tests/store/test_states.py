"""A job's life, in any order of events: what the database holds is what a simple model says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flask_recurring._store import Store
from flask_recurring._store.claim import LOST_LIMIT, Claimed
from flask_recurring._store.transitions import Outcome
from tests.store.samples import new_job
from tests.store.worker import Worker, failure, success

any_number = st.integers(0, 1_000)


@dataclass
class Model:
    """A job as it should stand."""

    state: str = "Enqueued"
    claim: int = 0
    attempt: int = 0
    lost: int = 0
    cancel: bool = False
    server: int | None = None
    attempts: list[tuple[int, str]] = field(default_factory=list)

    def end(self, state: str, run: Claimed, outcome: str | None = None) -> None:
        """The run that holds the job comes to an end."""
        self.state, self.server = state, None
        if outcome is not None:
            self.attempts.append((run.claim, outcome))

    def after(self, state: str) -> str:
        """Where the job goes instead, if it was asked to stop."""
        return "Deleted" if self.cancel else state


class RecurringCommands(RuleBasedStateMachine):
    """What can happen to jobs, to servers, and to what servers say too late."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        with store.database.begin() as connection:
            for table in (store.database.tables.job, store.database.tables.attempt):
                connection.execute(sa.delete(table))
        self.workers = [Worker(store), Worker(store)]
        self.jobs: dict[int, Model] = {}
        self.runs: list[Claimed] = []

    def teardown(self) -> None:
        for worker in self.workers:
            worker.close()

    def job(self, number: int) -> tuple[int, Model]:
        """Any of the jobs."""
        return list(self.jobs.items())[number % len(self.jobs)]

    def run(self, number: int) -> tuple[Claimed, Model, bool]:
        """Any of the runs that were ever begun, and whether it still holds its job."""
        run = self.runs[-1 - number % len(self.runs)]
        model = self.jobs[run.id]
        return run, model, (model.claim, model.state) == (run.claim, "Processing")

    @rule(count=st.integers(1, 3))
    def insert(self, count: int) -> None:
        for id in self.store.jobs.insert_many(new_job() for _ in range(count)):
            self.jobs[id] = Model()

    @rule(which=st.integers(0, 1), limit=st.integers(1, 3))
    def claim(self, which: int, limit: int) -> None:
        worker = self.workers[which]
        waiting = [model for model in self.jobs.values() if model.state == "Enqueued"]
        claimed = worker.claim(limit)
        assert len(claimed) == min(limit, len(waiting))
        for run in claimed:
            model = self.jobs[run.id]
            assert model.state == "Enqueued"
            model.state, model.server = "Processing", worker.id
            model.claim += 1
            model.attempt += 1
            assert (run.claim, run.attempt) == (model.claim, model.attempt)
            self.runs.append(run)

    @precondition(lambda self: self.runs)
    @rule(number=any_number)
    def succeed(self, number: int) -> None:
        run, model, holds = self.run(number)
        assert self.workers[0].complete([success(run)]).successes == holds
        if holds:
            model.end("Succeeded", run)

    @precondition(lambda self: self.runs)
    @rule(
        number=any_number,
        outcome=st.sampled_from([Outcome.FAILED, Outcome.CANCELLED, Outcome.RELEASED]),
        retries=st.booleans(),
    )
    def fail(self, number: int, outcome: Outcome, retries: bool) -> None:
        run, model, holds = self.run(number)
        again = outcome is Outcome.FAILED and retries
        end = failure(run, outcome, retry_in=0.0 if again else None)
        assert self.workers[1].complete((), [end]).failures == ({run.id} if holds else set())
        if not holds:
            return
        if outcome is Outcome.RELEASED:
            model.attempt -= 1
            again = True
        state = "Deleted" if outcome is Outcome.CANCELLED else "Enqueued" if again else "Failed"
        model.end(model.after(state), run, outcome.value)

    @precondition(lambda self: self.runs)
    @rule(number=any_number)
    def release(self, number: int) -> None:
        run, model, holds = self.run(number)
        assert self.workers[0].release(run) == holds
        if holds:
            model.attempt -= 1
            model.end(model.after("Enqueued"), run)

    @precondition(lambda self: self.jobs)
    @rule(number=any_number)
    def delete(self, number: int) -> None:
        id, model = self.job(number)
        running = model.state == "Processing"
        changes = not model.cancel if running else model.state != "Deleted"
        assert self.store.jobs.delete(id) is changes
        if changes:
            model.cancel = running
            model.state = "Processing" if running else "Deleted"

    @precondition(lambda self: self.jobs)
    @rule(number=any_number)
    def requeue(self, number: int) -> None:
        id, model = self.job(number)
        changes = model.state in ("Succeeded", "Failed", "Deleted")
        assert self.store.jobs.requeue(id) is changes
        if changes:
            model.state, model.cancel = "Enqueued", False
            model.attempt = model.lost = 0

    @rule(which=st.integers(0, 1))
    def die(self, which: int) -> None:
        worker, other = self.workers[which], self.workers[1 - which]
        held = {id: model for id, model in self.jobs.items() if model.server == worker.id}
        parked = 0
        for model in held.values():
            model.lost += 1
            state = model.after("Failed" if model.lost >= LOST_LIMIT else "Enqueued")
            model.state, model.server = state, None
            model.attempts.append((model.claim, "Lost"))
            parked += state == "Failed"
        rescue = self.store.servers.rescue(other.connection, [worker.id])
        assert (rescue.requeued, rescue.parked) == (len(held) - parked, parked)
        worker.close()
        self.workers[which] = Worker(self.store)

    @invariant()
    def stands_as_it_should(self) -> None:
        table, attempt = self.store.database.tables.job.c, self.store.database.tables.attempt.c
        columns = [table.id, table.state, table.claim, table.attempt, table.lost, table.server_id]
        times = [table.cancel_requested, table.started_at, table.finished_at]
        with self.store.database.connect() as connection:
            rows = connection.execute(sa.select(*columns, *times)).all()
            ends = connection.execute(
                sa.select(attempt.job_id, attempt.claim, attempt.outcome).order_by(attempt.claim)
            ).all()
        assert {row.id for row in rows} == self.jobs.keys()
        for row in rows:
            model = self.jobs[row.id]
            found: tuple[Any, ...] = (row.state, row.claim, row.attempt, row.lost, row.server_id)
            assert found == (
                *(model.state, model.claim, model.attempt, model.lost),
                model.server,
            )
            assert [end[1:] for end in ends if end.job_id == row.id] == model.attempts
            done = model.state in ("Succeeded", "Failed", "Deleted")
            assert (row.finished_at is not None) is done
            if model.state == "Processing":
                assert row.started_at is not None
                assert row.cancel_requested == model.cancel
            if model.state == "Enqueued":
                assert row.started_at is None
                assert not row.cancel_requested


def test_any_life(store: Store) -> None:
    run_state_machine_as_test(
        lambda: RecurringCommands(store),  # type: ignore[arg-type]
        settings=settings(
            max_examples=10,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
