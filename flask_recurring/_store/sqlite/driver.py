"""SQLite: connections, hints and the hot statements.

One file, one writer at a time. Inside a process all writers queue at a lock of our own, because
SQLite's way of waiting (sleep, look, sleep longer) wastes milliseconds; between processes its
``busy_timeout`` does. There are no notifications: ``PRAGMA data_version`` tells in a microsecond
whether anybody committed, so a server looks every few hundredths of a second.

**One step for a batch.** Python's sqlite3 lets go of the interpreter's lock at each step of a
statement, and takes it back among the threads that run jobs, which costs more than the step itself.
So a statement writes many rows, and what many rows answer comes back as one JSON text.

A server's sign of life is a lock on a file: see ``presence``.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from ..._random import rng
from ..claim import LOST_LIMIT, Claimed, Lane, LaneDiscovery
from ..completion import Failure, Success
from ..keys import claimed_keys
from ..notification import Notification, Topic
from ..records import Accepted, ConsoleRow, NewJob, Tally, TickWrite
from ..schema import Tables
from ..spool import Chunk
from ..transitions import Event
from ..types import SQLITE_NOW, from_microseconds, to_microseconds
from .liveness import LockFile, unlocked
from .statements import Statements

T = TypeVar("T")

STEPS = 10_000
"""Steps of SQLite's machine between two looks at the clock: a millisecond at most."""

LOOK_INTERVAL = 0.02
"""Seconds between two looks at ``data_version``."""

FORK_PATIENCE = 1.0
"""Seconds that a fork waits, at most, for a write of another thread to end."""

MINUTE = 60_000_000


class SQLite:
    """See ``Driver``."""

    name = "sqlite"
    now = SQLITE_NOW

    def __init__(self, tables: Tables) -> None:
        self._sql = Statements(tables)
        self._prefix = tables.prefix
        self._writing = threading.RLock()
        self._forking = threading.local()
        """Whether the present thread has the lock because it forks: several may do so at once."""
        self._lock_file = LockFile()

    # -- structure

    def prepare(self, connection: sa.Connection) -> None:
        # Readers and the writer don't wait for each other. It is a property of the file, and
        # SQLite doesn't wait for others when it changes: several processes may start together.
        deadline = time.monotonic() + 10
        while True:
            try:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                return
            except sa.exc.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(rng.uniform(0.01, 0.05))

    @contextmanager
    def migrating(self, connection: sa.Connection, schema: str) -> Iterator[None]:
        with self.transaction(connection):
            yield

    def create_schema(self, connection: sa.Connection, schema: str) -> None:
        return

    @contextmanager
    def transaction(self, connection: sa.Connection) -> Iterator[None]:
        with self._writing:
            # The write lock from the start: a reader that turns writer may find that it can't.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                with contextlib.suppress(sa.exc.SQLAlchemyError, sqlite3.Error):
                    connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")

    @contextmanager
    def reading(self, connection: sa.Connection, timeout: float) -> Iterator[None]:
        driver, end = raw(connection), time.monotonic() + timeout
        connection.exec_driver_sql("BEGIN")
        driver.set_progress_handler(lambda: time.monotonic() > end, STEPS)
        try:
            yield
        finally:
            # Nothing was written, so there is nothing that one would rather keep or undo.
            if not connection.invalidated and not connection.closed:
                driver.set_progress_handler(None, 0)
                with contextlib.suppress(sa.exc.SQLAlchemyError, sqlite3.Error):
                    connection.exec_driver_sql("ROLLBACK")

    def limit(self, connection: sa.Connection, timeout: float) -> None:
        return  # for the write lock, the only one, nobody waits longer than the busy timeout

    @contextmanager
    def writing(self, connection: sa.Connection) -> Iterator[None]:
        with self._writing:
            yield

    def exclude(self, connection: sa.Connection, section: str) -> None:
        return  # a transaction that writes is alone

    # -- connections

    def codec(self, connection: sa.Connection) -> None:
        return  # in every encoding of SQLite's there is room for everything

    def carried_codec(self, connection: sa.Connection) -> None:
        return

    def adopt(self, connection: sa.Connection, role: str, statement_timeout: float) -> None:
        driver = raw(connection)
        driver.execute(f"PRAGMA busy_timeout = {round(statement_timeout * 1000)}")
        # What a server writes can be written again after a power cut; what a client enqueues
        # can't, so the pooled connections keep SQLite's stricter default.
        driver.execute("PRAGMA synchronous = NORMAL")

    def abort(self, driver: Any) -> None:
        with contextlib.suppress(sqlite3.Error):
            driver.interrupt()

    def abandon(self, driver: Any) -> None:
        return  # the locks on its files are the parent's alone

    def is_idle(self, connection: sa.Connection) -> bool:
        return not raw(connection).in_transaction

    def ping(self, connection: sa.Connection) -> None:
        raw(connection).execute("SELECT 1")

    def before_fork(self) -> None:
        # Who forks may itself be what a write waits for, so this gives up.
        self._forking.holds = self._writing.acquire(timeout=FORK_PATIENCE)

    def after_fork_in_parent(self) -> None:
        if getattr(self._forking, "holds", False):
            self._forking.holds = False
            self._writing.release()

    def after_fork(self) -> None:
        self._forking = threading.local()
        self._writing = threading.RLock()
        self._lock_file.end_liveness(unlink=False)

    def describe(self, connection: sa.Connection, url: sa.URL) -> str:
        return f"SQLite {sqlite3.sqlite_version} · {url.database}"

    # -- jobs

    def insert(
        self, connection: sa.Connection, job: NewJob, notification: Notification | None
    ) -> Any:
        return self.insert_over(raw(connection), job, notification)

    def insert_over(self, borrowed: Any, job: NewJob, notification: Notification | None) -> Any:
        now = _now()
        with self._writing:
            return borrowed.execute(self._sql.insert, _values(job, now)).fetchone()

    def insert_many(self, connection: sa.Connection, chunk: Chunk) -> list[int]:
        now = _now()
        if chunk.keyed or chunk.timed:
            for key in claimed_keys(chunk.jobs):
                connection.exec_driver_sql(self._sql.free_key, (key,))
            return [self._insert_one(connection, job, now) for job in chunk.jobs]
        values = (now, now, chunk.packed.decode())
        written = connection.exec_driver_sql(self._sql.insert_many, values)
        # A statement of the only writer: the ids follow each other, in the order of the rows.
        last = written.lastrowid
        return list(range(last - written.rowcount + 1, last + 1))

    def _insert_one(self, connection: sa.Connection, job: NewJob, now: int) -> int:
        row = connection.exec_driver_sql(self._sql.insert, _values(job, now)).first()
        if row is None:
            row = connection.exec_driver_sql(self._sql.by_key, (job.key,)).one()
        return int(row[0])

    def write_ticks(self, connection: sa.Connection, due: Sequence[TickWrite]) -> None:
        driver = raw(connection)
        now = _now()
        without_run = [
            (tick.recurring_id, to_microseconds(tick.due), tick.outcome, tick.reason, now)
            for tick in due
            if tick.due is not None and tick.outcome != "run"
        ]
        if without_run:
            driver.executemany(self._sql.insert_entry, without_run)
        moved: dict[str, tuple[int | None, int | None, int | None]] = {}
        for tick in due:
            next_at = None if tick.next_at is None else to_microseconds(tick.next_at)
            _, last_due, last_job = moved.get(tick.recurring_id, (None, None, None))
            if tick.due is not None and tick.outcome == "run":
                last_due = to_microseconds(tick.due)
                last_job = self._write_tick(driver, tick, last_due, now) or last_job
            moved[tick.recurring_id] = (next_at, last_due, last_job)
        driver.executemany(self._sql.move_on, [(*values, id) for id, values in moved.items()])

    def _write_tick(
        self, driver: sqlite3.Connection, tick: TickWrite, due: int, now: int
    ) -> int | None:
        entry = (tick.recurring_id, due, tick.outcome, tick.reason, now)
        fresh = driver.execute(self._sql.insert_tick, entry).fetchone()
        if fresh is None:
            return None
        start = now if tick.start is None else to_microseconds(tick.start)
        event = Event.AWAITED if tick.awaiting else Event.ENQUEUED
        job = driver.execute(
            self._sql.insert_run,
            (
                *(tick.task, tick.arguments, tick.queue, tick.priority),
                *(event.target.value, start, now),
                *(tick.recurring_id, due, tick.options),
            ),
        )
        driver.execute(self._sql.name_job, (job.lastrowid, fresh[0]))
        return job.lastrowid

    def discover_lanes(self, connection: sa.Connection) -> LaneDiscovery:
        driver = raw(connection)
        lanes: list[Lane] = []
        row = driver.execute(self._sql.first_lane).fetchone()
        while row is not None:
            lanes.append(Lane(row[0], row[1], from_microseconds(row[2])))
            row = driver.execute(self._sql.later_lane, row[:2]).fetchone()
        paused = frozenset(name for (name,) in driver.execute(self._sql.paused))
        return LaneDiscovery(from_microseconds(_now()), lanes, paused)

    def claim(
        self,
        connection: sa.Connection,
        *,
        server_id: int,
        lanes: Sequence[Lane],
        tasks: Sequence[str],
        limit: int,
        lost_below: int = LOST_LIMIT,
    ) -> list[Claimed]:
        driver = raw(connection)
        if not tasks:
            return []
        pick = self._sql.pick(len(tasks))
        picks = [(pick, self._lane_values(lane, lost_below, tasks)) for lane in lanes]
        # A look before the lock: an idle server must not keep others from writing.
        now = _now()
        if not any(_ids(driver, sql, (*values(now), 1)) for sql, values in picks):
            return []
        claimed: list[Claimed] = []
        with self.transaction(connection):
            if driver.execute(self._sql.alive, (server_id,)).fetchone() is None:
                return []
            now = _now()
            for sql, values in picks:
                if len(claimed) == limit:
                    break
                ids = _ids(driver, sql, (*values(now), limit - len(claimed)))
                if ids:
                    claimed += self._take(driver, ids, server_id, now)
        return claimed

    def _lane_values(self, lane: Lane, lost_below: int, tasks: Sequence[str]) -> Any:
        mark = 0 if lane.mark is None else to_microseconds(lane.mark)
        return lambda now: (lane.queue, lane.priority, now, mark, lost_below, *tasks)

    def _take(
        self, driver: sqlite3.Connection, ids: list[int], server_id: int, now: int
    ) -> list[Claimed]:
        taken: list[Claimed] = []
        for chunk in _chunks(ids):
            driver.execute(self._sql.take(len(chunk)), (now, server_id, *chunk))
            (rows,) = driver.execute(self._sql.taken(len(chunk)), chunk).fetchone()
            taken += [
                Claimed._make(
                    (
                        *row[:7],
                        from_microseconds(row[7]),
                        (now - row[7]) / 1e6,
                        row[8],
                        None if row[9] is None else from_microseconds(row[9]),
                        *row[10:],
                    )
                )
                for row in _ROWS.decode(rows)
            ]
        place = {id: number for number, id in enumerate(ids)}
        taken.sort(key=lambda job: place[job.id])
        return taken

    def release(self, connection: sa.Connection, jobs: Sequence[tuple[int, int]]) -> int:
        with self.transaction(connection):
            now = _now()
            given = [{"now": now, "id": id, "claim": claim} for id, claim in jobs]
            return max(0, raw(connection).executemany(self._sql.release, given).rowcount)

    def complete(
        self,
        connection: sa.Connection,
        successes: Sequence[Success],
        failures: Sequence[Failure],
        entries: Sequence[ConsoleRow],
        tallies: Iterable[Tally],
        server_id: int,
    ) -> Accepted:
        driver = raw(connection)
        with self.transaction(connection):
            now, clock = _now(), time.monotonic()

            def moment(at: float) -> int:
                return now - round((clock - at) * 1e6)

            lines = [(*entry[:3], moment(entry.moment), *entry[4:]) for entry in entries]
            for chunk in _chunks(lines):
                driver.execute(self._sql.write_console(len(chunk)), _flat(chunk))
            ends = [
                (run.id, run.claim, moment(run.started), moment(run.finished), run.result)
                for run in successes
            ]
            succeeded = sum(
                driver.execute(self._sql.succeed(len(chunk)), _flat(chunk)).rowcount
                for chunk in _chunks(ends)
            )
            failed = {
                run.id
                for run in failures
                if self._fail(driver, run, now, moment(run.started), moment(run.finished))
            }
            minute = now - now % MINUTE
            driver.executemany(
                self._sql.count, [(minute, tally.task, server_id, *tally[1:]) for tally in tallies]
            )
        return Accepted(succeeded, failed)

    def _fail(
        self, driver: sqlite3.Connection, run: Failure, now: int, began: int, ended: int
    ) -> bool:
        event = run.event
        row = driver.execute(
            self._sql.fail[event],
            {
                "id": run.id,
                "claim": run.claim,
                "retry_at": None if run.retry_in is None else now + round(run.retry_in * 1e6),
                "began": began,
                "ended": ended,
                "summary": run.summary,
            },
        ).fetchone()
        if row is None:
            return False
        ran_on, state, run_at = row
        retry_at = run_at if event is Event.RETRIED and state == event.target else None
        driver.execute(
            self._sql.insert_attempt,
            (*run[:3], run.outcome.value, began, ended, ran_on, *run[7:10], retry_at),
        )
        return True

    # -- hints

    def notify(self, connection: sa.Connection, notification: Notification) -> None:
        return  # the commit itself is what others see

    def listen(self, connection: sa.Connection) -> None:
        connection.info["data_version"] = self._version(connection)

    def receive(self, connection: sa.Connection, timeout: float) -> list[Notification]:
        deadline = time.monotonic() + timeout
        known = connection.info.get("data_version")
        while (version := self._version(connection)) == known:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return []
            # Irregular on purpose, so that of two hosts not always the same one looks first.
            time.sleep(min(remaining, rng.uniform(0.5, 1.5) * LOOK_INTERVAL))
        connection.info["data_version"] = version
        return [Notification(Topic.ANY)]

    def _version(self, connection: sa.Connection) -> int:
        return int(raw(connection).execute("PRAGMA data_version").fetchone()[0])

    # -- signs of life

    def presence(
        self, connection: sa.Connection, server_id: int, beside: Iterable[str] = ()
    ) -> str | None:
        file = raw(connection).execute("PRAGMA database_list").fetchone()[2]
        # With the prefix of the tables: there may be several sets of them in one file.
        return self._lock_file.hold(Path(f"{file}-{self._prefix}server-{server_id}"))

    def gone(self, connection: sa.Connection, presence: Sequence[str]) -> set[str]:
        return {given for given in presence if unlocked(Path(given))}

    def end_liveness(self) -> None:
        self._lock_file.end_liveness()


def raw(connection: sa.Connection) -> sqlite3.Connection:
    """The sqlite3 connection inside."""
    driver: sqlite3.Connection = connection.connection.dbapi_connection  # type: ignore[assignment]
    return driver


SIZES = (100, 25, 5, 1)
"""Rows of one statement. Few sizes, so that SQLite's driver keeps each statement prepared."""


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows in pieces of the sizes above, the largest first."""
    begin = 0
    for size in SIZES:
        while len(rows) - begin >= size:
            yield rows[begin : begin + size]
            begin += size


def _flat(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [value for row in rows for value in row]


def _ids(driver: sqlite3.Connection, sql: str, values: tuple[Any, ...]) -> list[int]:
    return _IDS.decode(driver.execute(sql, values).fetchone()[0])


_IDS = msgspec.json.Decoder(list[int])
_ROWS = msgspec.json.Decoder(
    list[tuple[int, int, int, str, str, str, int, int, str | None, int | None, str | None, int]]
)


def _now() -> int:
    """SQLite's clock, which is the host's, in the whole milliseconds that SQLite counts.

    In microseconds a job would be written that lies ahead, by a part of one, of what the statements
    that ask SQLite itself take for now.
    """
    return time.time_ns() // 1_000_000 * 1000


def _values(job: NewJob, now: int) -> tuple[Any, ...]:
    run_at = to_microseconds(job.run_at) if job.run_at is not None else now + round(job.delay * 1e6)
    due = None if job.due is None else to_microseconds(job.due)
    placed = (job.task, job.arguments, job.queue, job.priority, run_at, now)
    return (*placed, job.recurring_id, due, job.key, job.options)
