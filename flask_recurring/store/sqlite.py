"""SQLite: connections, hints and the hot statements.

One file, one writer at a time. Inside a process all writers queue at a lock of our own, because
SQLite's way of waiting (sleep, look, sleep longer) wastes milliseconds; between processes its
``busy_timeout`` does. There are no notifications: ``PRAGMA data_version`` tells in a microsecond
whether anybody committed, so a server looks every few hundredths of a second.

**One step for a batch.** Python's sqlite3 lets go of the interpreter's lock at each step of a
statement, and takes it back among the threads that run jobs, which costs more than the step itself.
So a statement writes many rows, and what many rows answer comes back as one JSON text.

A server's sign of life is a lock on a small file beside the database. The operating system lets go
of it when the process ends, however it ends, and not before.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from .claim import Claimed, Lane, Survey
from .completion import Outcome, Setback, Success, state_after
from .driver import Accepted, Due, Entry, NewJob, Tally
from .hint import Hint, Topic
from .schema import WAITING, Tables
from .types import from_microseconds, to_microseconds

T = TypeVar("T")

try:
    import fcntl
except ImportError:  # Windows: there, a server is dead once it was silent for long enough
    fcntl = None  # type: ignore[assignment]

LOOK_INTERVAL = 0.02
"""Seconds between two looks at ``data_version``."""

MINUTE = 60_000_000


class SQLite:
    """See ``Driver``."""

    name = "sqlite"

    def __init__(self, tables: Tables) -> None:
        self._sql = _Statements(tables)
        self._writing = threading.RLock()
        self._versions: dict[int, int] = {}
        self._lock_file: tuple[Path, int] | None = None

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
                time.sleep(random.uniform(0.01, 0.05))

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
    def writing(self, connection: sa.Connection) -> Iterator[None]:
        with self._writing:
            yield

    # -- connections

    def adopt(self, connection: sa.Connection, role: str, statement_timeout: float) -> None:
        driver = raw(connection)
        driver.execute(f"PRAGMA busy_timeout = {round(statement_timeout * 1000)}")
        # What a server writes can be written again after a power cut; what a client enqueues
        # can't, so the pooled connections keep SQLite's stricter default.
        driver.execute("PRAGMA synchronous = NORMAL")

    def abort(self, connection: sa.Connection) -> None:
        with contextlib.suppress(sqlite3.Error, sa.exc.SQLAlchemyError, AttributeError):
            raw(connection).interrupt()

    def ping(self, connection: sa.Connection) -> None:
        raw(connection).execute("SELECT 1")

    def after_fork(self) -> None:
        self._writing = threading.RLock()
        self.release(unlink=False)

    def describe(self, connection: sa.Connection, url: sa.URL) -> str:
        return f"SQLite {sqlite3.sqlite_version} · {url.database}"

    # -- jobs

    def insert(self, connection: sa.Connection, job: NewJob, hint: Hint | None) -> Any:
        now = _now()
        with self._writing:
            return connection.exec_driver_sql(self._sql.insert, _values(job, now)).first()

    def insert_many(self, connection: sa.Connection, jobs: Sequence[NewJob]) -> list[int]:
        if not jobs:
            return []
        driver = raw(connection)
        now = _now()
        if any(job.key is not None for job in jobs):
            return [self._insert_keyed(driver, job, now) for job in jobs]
        # Statements of the only writer: the ids follow each other, in the order of the rows.
        ids: list[int] = []
        for chunk in _chunks([_values(job, now) for job in jobs]):
            last = driver.execute(self._sql.insert_many(len(chunk)), _flat(chunk)).lastrowid
            assert last is not None
            ids += range(last - len(chunk) + 1, last + 1)
        return ids

    def _insert_keyed(self, driver: sqlite3.Connection, job: NewJob, now: int) -> int:
        row = driver.execute(self._sql.insert, _values(job, now)).fetchone()
        if row is None:
            row = driver.execute(self._sql.by_key, (job.key,)).fetchone()
        return int(row[0])

    def write_ticks(self, connection: sa.Connection, due: Sequence[Due]) -> None:
        driver = raw(connection)
        now = _now()
        for tick in due:
            job_id = None if tick.due is None else self._write_tick(driver, tick, now)
            moved = (
                None if tick.next_at is None else to_microseconds(tick.next_at),
                None if tick.due is None else to_microseconds(tick.due),
                job_id,
                tick.recurring_id,
            )
            driver.execute(self._sql.move_on, moved)

    def _write_tick(self, driver: sqlite3.Connection, tick: Due, now: int) -> int | None:
        assert tick.due is not None
        due = to_microseconds(tick.due)
        fresh = driver.execute(self._sql.insert_tick, (tick.recurring_id, due, now)).fetchone()
        if fresh is None:
            return None
        job = NewJob(
            task=tick.task,
            arguments=tick.arguments,
            queue=tick.queue,
            priority=tick.priority,
            options=tick.options,
            recurring_id=tick.recurring_id,
            due=tick.due,
        )
        job_id = int(driver.execute(self._sql.insert, _values(job, now)).fetchone()[0])
        driver.execute(self._sql.name_job, (job_id, fresh[0]))
        return job_id

    def survey(self, connection: sa.Connection) -> Survey:
        driver = raw(connection)
        lanes: list[Lane] = []
        row = driver.execute(self._sql.first_lane).fetchone()
        while row is not None:
            paused = driver.execute(self._sql.paused, row[:1]).fetchone() is not None
            lanes.append(Lane(row[0], row[1], from_microseconds(row[2]), paused=paused))
            row = driver.execute(self._sql.later_lane, row[:2]).fetchone()
        return Survey(from_microseconds(_now()), lanes)

    def claim(
        self,
        connection: sa.Connection,
        *,
        server_id: int,
        lanes: Sequence[Lane],
        tasks: Sequence[str],
        limit: int,
    ) -> list[Claimed]:
        driver = raw(connection)
        picks = [(self._sql.pick(len(tasks)), self._lane_values(lane, tasks)) for lane in lanes]
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

    def _lane_values(self, lane: Lane, tasks: Sequence[str]) -> Any:
        mark = 0 if lane.mark is None else to_microseconds(lane.mark)
        return lambda now: (lane.queue, lane.priority, now, mark, *tasks)

    def _take(
        self, driver: sqlite3.Connection, ids: list[int], server_id: int, now: int
    ) -> list[Claimed]:
        taken: list[Claimed] = []
        for chunk in _chunks(ids):
            driver.execute(self._sql.take(len(chunk)), (now, server_id, server_id, *chunk))
            (rows,) = driver.execute(self._sql.taken(len(chunk)), chunk).fetchone()
            taken += [
                Claimed._make(
                    (
                        *row[:7],
                        from_microseconds(row[7]),
                        (now - row[7]) / 1e6,
                        row[8],
                        None if row[9] is None else from_microseconds(row[9]),
                        row[10],
                    )
                )
                for row in _ROWS.decode(rows)
            ]
        place = {id: number for number, id in enumerate(ids)}
        taken.sort(key=lambda job: place[job.id])
        return taken

    def hand_back(self, connection: sa.Connection, jobs: Sequence[tuple[int, int]]) -> int:
        with self.transaction(connection):
            return raw(connection).executemany(self._sql.hand_back, jobs).rowcount

    def settle(
        self,
        connection: sa.Connection,
        successes: Sequence[Success],
        setbacks: Sequence[Setback],
        entries: Sequence[Entry],
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
                for run in setbacks
                if self._set_back(driver, run, now, moment(run.started), moment(run.finished))
            }
            minute = now - now % MINUTE
            driver.executemany(
                self._sql.count, [(minute, tally.task, server_id, *tally[1:]) for tally in tallies]
            )
        return Accepted(succeeded, failed)

    def _set_back(
        self, driver: sqlite3.Connection, run: Setback, now: int, began: int, ended: int
    ) -> bool:
        waits = state_after(run) == "Enqueued"
        row = driver.execute(
            self._sql.set_back,
            {
                "id": run.id,
                "claim": run.claim,
                "state": state_after(run),
                "run_at": None if run.retry_in is None else now + round(run.retry_in * 1e6),
                "returned": int(run.outcome is Outcome.HANDED_BACK),
                "waits": waits,
                "began": began,
                "ended": ended,
                "summary": run.summary,
            },
        ).fetchone()
        if row is None:
            return False
        ran_on, state, run_at = row
        retry_at = run_at if state == "Enqueued" and run.retry_in is not None else None
        driver.execute(
            self._sql.insert_attempt,
            (*run[:3], run.outcome.value, began, ended, ran_on, *run[7:10], retry_at),
        )
        return True

    # -- hints

    def announce(self, connection: sa.Connection, hint: Hint) -> None:
        return  # the commit itself is what others see

    def listen(self, connection: sa.Connection) -> None:
        self._versions[id(connection)] = self._version(connection)

    def hear(self, connection: sa.Connection, timeout: float) -> list[Hint]:
        deadline = time.monotonic() + timeout
        known = self._versions.get(id(connection))
        while (version := self._version(connection)) == known:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return []
            # Irregular on purpose, so that of two hosts not always the same one looks first.
            time.sleep(min(remaining, random.uniform(0.5, 1.5) * LOOK_INTERVAL))
        self._versions = {id(connection): version}
        return [Hint(Topic.ANY)]

    def _version(self, connection: sa.Connection) -> int:
        return int(raw(connection).execute("PRAGMA data_version").fetchone()[0])

    # -- signs of life

    def presence(self, connection: sa.Connection, server_id: int) -> str | None:
        if fcntl is None:
            return None
        file = raw(connection).execute("PRAGMA database_list").fetchone()[2]
        path = Path(f"{file}-server-{server_id}")
        if self._lock_file is None or self._lock_file[0] != path:
            self.release()
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock_file = (path, descriptor)
        return str(path)

    def gone(self, connection: sa.Connection, presence: Sequence[str]) -> set[str]:
        return {given for given in presence if _unlocked(Path(given))}

    def release(self, unlink: bool = True) -> None:
        if self._lock_file is not None:
            path, descriptor = self._lock_file
            self._lock_file = None
            if unlink:
                path.unlink(missing_ok=True)
            os.close(descriptor)


def raw(connection: sa.Connection) -> sqlite3.Connection:
    """The sqlite3 connection inside."""
    driver: sqlite3.Connection = connection.connection.dbapi_connection  # type: ignore[assignment]
    return driver


def _unlocked(path: Path) -> bool:
    """Whether no process holds the lock on the file; removes a file that nobody holds."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False  # not ours to open: that proves nothing
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)


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
    list[tuple[int, int, int, str, str, str, int, int, str | None, int | None, str | None]]
)


def _now() -> int:
    """SQLite's clock is the host's; asking the host for it directly gives the microseconds too."""
    return time.time_ns() // 1000


def _values(job: NewJob, now: int) -> tuple[Any, ...]:
    run_at = to_microseconds(job.run_at) if job.run_at is not None else now + round(job.delay * 1e6)
    due = None if job.due is None else to_microseconds(job.due)
    placed = (job.task, job.arguments, job.queue, job.priority, run_at, now)
    return (*placed, job.recurring_id, due, job.key, job.options)


class _Statements:
    """The hot statements under one prefix."""

    def __init__(self, tables: Tables) -> None:
        self._job = job = tables.name("job")
        self._fetch = fetch = f"{job} INDEXED BY {tables.prefix}job_fetch"
        attempt = tables.name("attempt")
        self._console = tables.name("console")
        statistics = tables.name("statistics")
        self.alive = f"SELECT 1 FROM {tables.name('server')} WHERE id = ? AND stopped_at IS NULL"
        self.insert = f"""
            INSERT INTO {job} (task, arguments, queue, priority, state, run_at, created_at,
                               recurring_id, due, key, options)
            VALUES (?, ?, ?, ?, 'Enqueued', ?, ?, ?, ?, ?, ?)
            ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING
            RETURNING id, created_at, run_at"""
        self.by_key = f"SELECT id FROM {job} WHERE key = ?"
        recurring, tick = tables.name("recurring_job"), tables.name("tick")
        self.insert_tick = f"""
            INSERT INTO {tick} (recurring_id, due, outcome, created_at) VALUES (?, ?, 'run', ?)
            ON CONFLICT (recurring_id, due) WHERE due IS NOT NULL DO NOTHING RETURNING id"""
        self.name_job = f"UPDATE {tick} SET job_id = ? WHERE id = ?"
        self.move_on = f"""
            UPDATE {recurring} SET next_at = ?, last_due = coalesce(?, last_due),
                last_job_id = coalesce(?, last_job_id) WHERE id = ?"""
        lane = f"SELECT queue, priority, run_at FROM {fetch} WHERE {WAITING}"
        self.first_lane = f"{lane} ORDER BY queue, priority, run_at LIMIT 1"
        self.later_lane = (
            f"{lane} AND (queue, priority) > (?, ?) ORDER BY queue, priority, run_at LIMIT 1"
        )
        self.paused = (
            f"SELECT 1 FROM {tables.name('queue')} WHERE name = ? AND paused_at IS NOT NULL"
        )
        mine = "WHERE id = ? AND claim = ? AND state = 'Processing'"
        self.hand_back = f"""
            UPDATE {job}
            SET state = 'Enqueued', server_id = NULL, started_at = NULL, attempt = attempt - 1
            {mine}"""
        waits = ":waits AND NOT cancel_requested"
        self.set_back = f"""
            UPDATE {job}
            SET state = CASE WHEN cancel_requested THEN 'Deleted' ELSE :state END,
                run_at = coalesce(:run_at, run_at),
                attempt = attempt - :returned,
                started_at = CASE WHEN {waits} THEN NULL ELSE :began END,
                finished_at = CASE WHEN {waits} THEN NULL ELSE :ended END,
                error = CASE WHEN :returned THEN error ELSE :summary END,
                server_id = NULL
            WHERE id = :id AND claim = :claim AND state = 'Processing'
            RETURNING ran_on, state, run_at"""
        self.insert_attempt = f"""
            INSERT INTO {attempt} (job_id, claim, attempt, outcome, started_at, finished_at,
                                   server_id, error_type, message, traceback, retry_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
        self.count = f"""
            INSERT INTO {statistics} (minute, task, server_id, succeeded, failed, retried,
                                      run_seconds, wait_seconds)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (minute, task, server_id) DO UPDATE
            SET succeeded = succeeded + excluded.succeeded,
                failed = failed + excluded.failed,
                retried = retried + excluded.retried,
                run_seconds = run_seconds + excluded.run_seconds,
                wait_seconds = wait_seconds + excluded.wait_seconds"""

    def pick(self, tasks: int) -> str:
        """Ids of the due jobs of one lane, for so many task names."""
        names = ", ".join("?" * tasks)
        return f"""
            SELECT json_group_array(id) FROM (
                SELECT id FROM {self._fetch}
                WHERE {WAITING} AND queue = ? AND priority = ? AND run_at <= ? AND run_at >= ?
                  AND task IN ({names})
                ORDER BY run_at, id LIMIT ?)"""

    def insert_many(self, count: int) -> str:
        """Write so many jobs that have no key."""
        row = "(?, ?, ?, ?, 'Enqueued', ?, ?, ?, ?, ?, ?)"
        return f"""
            INSERT INTO {self._job} (task, arguments, queue, priority, state, run_at, created_at,
                                     recurring_id, due, key, options)
            VALUES {_repeated(row, count)}"""

    def take(self, count: int) -> str:
        """Make so many jobs this server's."""
        return f"""
            UPDATE {self._job}
            SET state = 'Processing', claim = claim + 1, attempt = attempt + 1,
                started_at = ?, server_id = ?, ran_on = ?
            WHERE id IN ({_repeated("?", count)})"""

    def taken(self, count: int) -> str:
        """What there is to know of so many jobs, as one JSON text."""
        return f"""
            SELECT json_group_array(json_array(id, claim, attempt, task, arguments, queue, priority,
                                               run_at, recurring_id, due, options))
            FROM {self._job} WHERE id IN ({_repeated("?", count)})"""

    def succeed(self, count: int) -> str:
        """Note the end of so many runs."""
        # Not as WITH … UPDATE, whose rows sqlite3 doesn't count. SQLite names the columns itself.
        return f"""
            UPDATE {self._job}
            SET state = 'Succeeded', started_at = run.column3, finished_at = run.column4,
                result = run.column5, error = NULL, server_id = NULL
            FROM (VALUES {_repeated("(?, ?, ?, ?, ?)", count)}) AS run
            WHERE {self._job}.id = run.column1 AND {self._job}.claim = run.column2
              AND state = 'Processing'"""

    def write_console(self, count: int) -> str:
        """Write so many console rows."""
        return f"""
            INSERT INTO {self._console} (job_id, claim, seq, at, text, color, level, progress)
            VALUES {_repeated("(?, ?, ?, ?, ?, ?, ?, ?)", count)}
            ON CONFLICT (job_id, claim, seq) DO UPDATE SET progress = excluded.progress"""


def _repeated(item: str, count: int) -> str:
    return ", ".join([item] * count)
