"""A server without threads: what a server does to the store, one step at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from flask_recurring._store import ConsoleRow, NewServer, Store, Tally
from flask_recurring._store.claim import Claimed, Lane
from flask_recurring._store.completion import Failure, Success
from flask_recurring._store.records import Accepted
from flask_recurring._store.transitions import Outcome


class Worker:
    """Signs on, claims, and says how runs ended."""

    def __init__(
        self, store: Store, tasks: Sequence[str] = ("work",), name: str = "worker"
    ) -> None:
        self.store = store
        self.tasks = tasks
        self.driver = store.database.driver
        self.connection = store.database.open(name)
        self.id = store.servers.register(self.connection, new_server(name, tasks))

    def lanes(self) -> list[Lane]:
        """All lanes, in the order of their names and priorities."""
        return self.driver.discover_lanes(self.connection).lanes

    def claim(self, limit: int = 100, lanes: Sequence[Lane] | None = None) -> list[Claimed]:
        """Take jobs; from all lanes as a survey finds them, if none are given."""
        lanes = self.lanes() if lanes is None else lanes
        if not lanes:
            return []
        return self.driver.claim(
            self.connection, server_id=self.id, lanes=lanes, tasks=self.tasks, limit=limit
        )

    def claim_one(self) -> Claimed:
        """Take the first job; it must be there."""
        [job] = self.claim(1)
        return job

    def complete(
        self,
        successes: Sequence[Success] = (),
        failures: Sequence[Failure] = (),
        entries: Sequence[ConsoleRow] = (),
        tallies: Iterable[Tally] = (),
    ) -> Accepted:
        """Write how runs ended."""
        return self.driver.complete(self.connection, successes, failures, entries, tallies, self.id)

    def succeed(self, *jobs: Claimed) -> int:
        """Write that these runs succeeded; returns how many were accepted."""
        return self.complete([success(job) for job in jobs]).successes

    def fail(self, job: Claimed, retry_in: float | None = None) -> bool:
        """Write that the run failed; returns whether that was accepted."""
        return bool(self.complete(failures=[failure(job, retry_in=retry_in)]).failures)

    def release(self, *jobs: Claimed) -> int:
        """Give jobs back that were not begun; returns how many were."""
        return self.driver.release(self.connection, [(job.id, job.claim) for job in jobs])

    def close(self) -> None:
        """Close its connection, and give up its sign of life."""
        self.driver.end_liveness()
        self.connection.close()


def new_server(name: str = "worker", tasks: Sequence[str] = ("work",)) -> NewServer:
    """A server that is about to sign on."""
    return NewServer(
        name=name,
        host="host",
        pid=123,
        application="app",
        version="1",
        threads=4,
        queues=("*",),
        tasks=tuple(tasks),
    )


def success(job: Claimed, *, seconds: float = 0.0, result: str | None = None) -> Success:
    """A run of so many seconds that has just succeeded."""
    moment = time.monotonic()
    return Success(job.id, job.claim, moment - seconds, moment, result, job.task, job.waited)


def failure(
    job: Claimed,
    outcome: Outcome = Outcome.FAILED,
    *,
    seconds: float = 0.0,
    retry_in: float | None = None,
    message: str = "no",
) -> Failure:
    """A run of so many seconds that has just failed, or was cancelled."""
    moment = time.monotonic()
    return Failure(
        id=job.id,
        claim=job.claim,
        attempt=job.attempt,
        outcome=outcome,
        started=moment - seconds,
        finished=moment,
        retry_in=retry_in,
        error_type="ValueError",
        message=message,
        traceback="Traceback …",
        task=job.task,
        waited=job.waited,
        queue=job.queue,
        priority=job.priority,
    )
