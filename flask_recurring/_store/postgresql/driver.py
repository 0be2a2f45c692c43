"""PostgreSQL: connections, hints and the hot statements.

**Why the claim looks as it does.** Its inner part picks ids, lane by lane, each from the front of
``job_fetch``, skipping rows that another server is taking at this moment. The update then names its
rows as ``id = ANY(ARRAY(SELECT …))``: written as a join, the planner may scan the whole job table
once a batch is large. The statements that write ends are without a join for the same reason. And
the server's connections have sequential scans, sorts, hash and merge joins switched off: the hot
statements have exactly one good plan, at one row and at millions, before and after a vacuum, and
this leaves the planner no other.

**Pooled connections.** Behind PgBouncer in transaction mode a session's settings, prepared
statements and LISTEN belong to whoever comes next. That is noticed when a connection is opened
(the backend that answers is not the one that was announced), and then none of them is used.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
import psycopg
import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from ..chunks import chunked
from ..claim import LOST_LIMIT, Claimed, Lane, LaneDiscovery
from ..completion import Failure, Success
from ..keys import claimed_keys
from ..notification import Notification, Topic
from ..records import Accepted, ConsoleRow, NewJob, Tally, TickWrite
from ..schema import Tables
from ..spool import Chunk
from .connection import keep_alive, raw
from .encoding import carried_codec, database_codec
from .session import begin_session
from .statements import Statements
from .throttle import Throttle

PRESENCE = "pid || ' ' || to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
"""Names a backend for all time, in the same words for sessions of every time zone."""

LANES_AT_ONCE = 32
"""Lanes of one claim's statement: planning takes the square of their number in time."""

BY_CLAIM = itemgetter(0, 1)
"""Sorts ends of runs: statements look for what is given for an id by halving, and of two claims of
a job the later one counts."""


class PostgreSQL:
    """See ``Driver``."""

    name = "postgresql"
    now = "now()"

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._channel = f"flask_recurring_{tables.schema}"[:63]
        self._throttle = Throttle()
        self._sql = Statements(tables)

    # -- structure

    def prepare(self, connection: sa.Connection) -> None:
        return

    @contextmanager
    def migrating(self, connection: sa.Connection, schema: str) -> Iterator[None]:
        with self.transaction(connection):
            connection.exec_driver_sql(
                "SELECT pg_advisory_xact_lock(hashtext('flask_recurring'), hashtext(%s))", (schema,)
            )
            yield

    def create_schema(self, connection: sa.Connection, schema: str) -> None:
        # Asked first: CREATE SCHEMA IF NOT EXISTS wants the right to create even if it exists.
        if schema not in sa.inspect(connection).get_schema_names():
            connection.execute(sa.schema.CreateSchema(schema))

    @contextmanager
    def transaction(self, connection: sa.Connection) -> Iterator[None]:
        # Whatever the database or the role prefers: nothing here is meant for another.
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
        with _ended(connection):
            yield

    @contextmanager
    def reading(self, connection: sa.Connection, timeout: float) -> Iterator[None]:
        # Two statements in one message, which can't be prepared.
        raw(connection).execute(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;"
            f" SET LOCAL statement_timeout = {_milliseconds(timeout)}",
            prepare=False,
        )
        with _ended(connection):
            yield

    def limit(self, connection: sa.Connection, timeout: float) -> None:
        raw(connection).execute(f"SET LOCAL statement_timeout = {_milliseconds(timeout)}")

    def writing(self, connection: sa.Connection) -> nullcontext[None]:
        return nullcontext()

    def exclude(self, connection: sa.Connection, section: str) -> None:
        connection.exec_driver_sql(
            "SELECT pg_advisory_xact_lock(hashtext('flask_recurring'), hashtext(%s))",
            (f"{self._tables.schema} {section}",),
        )

    # -- connections

    def codec(self, connection: sa.Connection) -> str | None:
        return database_codec(raw(connection))

    def carried_codec(self, connection: sa.Connection) -> str | None:
        return carried_codec(raw(connection))

    def adopt(self, connection: sa.Connection, role: str, statement_timeout: float) -> None:
        driver = raw(connection)
        keep_alive(driver)
        connection.info["pooled"] = pooled = begin_session(driver)
        if pooled:
            return
        row = driver.execute(
            "SELECT set_config('application_name', %s, false),"
            " set_config('statement_timeout', %s, false),"
            # A process that stands still in the middle of a tick must not keep others from it.
            " set_config('idle_in_transaction_session_timeout', '5s', false),"
            " set_config('enable_seqscan', 'off', false),"
            " set_config('enable_sort', 'off', false),"
            " set_config('enable_hashjoin', 'off', false),"
            " set_config('enable_mergejoin', 'off', false),"
            " set_config('jit', 'off', false),"
            f" (SELECT {PRESENCE} FROM pg_stat_activity WHERE pid = pg_backend_pid())",
            (f"flask_recurring {role}", f"{round(statement_timeout * 1000)}ms"),
        ).fetchone()
        if row is not None:
            connection.info["presence"] = row[-1]
        # The few statements of a link are worth preparing at their first use already.
        driver.prepare_threshold = 1

    def abort(self, driver: Any) -> None:
        try:
            number = os.dup(driver.fileno())
        except (OSError, psycopg.Error):
            return  # closed meanwhile
        with socket.socket(fileno=number) as peer:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def abandon(self, driver: Any) -> None:
        try:
            number = driver.fileno()
        except psycopg.Error:
            return  # closed before the fork
        # The number stays taken, so that whatever libpq still does with it hits nobody else's file.
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            os.dup2(nothing, number, inheritable=False)
        finally:
            os.close(nothing)

    def is_idle(self, connection: sa.Connection) -> bool:
        return raw(connection).info.transaction_status == TransactionStatus.IDLE

    def ping(self, connection: sa.Connection) -> None:
        raw(connection).execute("SELECT 1")

    def before_fork(self) -> None:
        return

    def after_fork_in_parent(self) -> None:
        return

    def after_fork(self) -> None:
        return

    def describe(self, connection: sa.Connection, url: sa.URL) -> str:
        info = raw(connection).info
        version = info.parameter_status("server_version") or "?"
        host = info.host if not info.host.startswith("/") else "local socket"
        where = f"{host}:{info.port}" if not info.host.startswith("/") else host
        place = f"{where}/{info.dbname}"
        return f"PostgreSQL {version.split()[0]} · {place} · schema {self._tables.schema}"

    # -- jobs

    def insert(
        self, connection: sa.Connection, job: NewJob, notification: Notification | None
    ) -> Any:
        return self.insert_over(raw(connection), job, notification)

    def insert_over(self, borrowed: Any, job: NewJob, notification: Notification | None) -> Any:
        values: dict[str, Any] = {
            "task": job.task,
            "arguments": job.arguments,
            "queue": job.queue,
            "priority": job.priority,
        }
        statements = self._sql.insert_plain
        if not job.plain:
            values |= {
                "run_at": job.run_at,
                "delay": job.delay,
                "recurring_id": job.recurring_id,
                "due": job.due,
                "key": job.key,
                "options": job.options,
            }
            statements = self._sql.insert
        began = time.monotonic()
        payload = None if notification is None else notification.encode()
        notifies = payload is not None and not self._throttle.spares(payload, began)
        if notifies:
            values |= {"channel": self._channel, "payload": payload}
        row = borrowed.execute(statements[notifies], values).fetchone()
        if row is not None and payload is not None:
            ended = time.monotonic()
            if notifies:
                self._throttle.sent(payload, began, ended)
            elif not self._throttle.covers(payload, ended):
                # The job is there, whatever becomes of this; then it is found by the next poll.
                with suppress(psycopg.Error):
                    borrowed.execute("SELECT pg_notify(%s, %s)", (self._channel, payload))
        return row

    def insert_many(self, connection: sa.Connection, chunk: Chunk) -> list[int]:
        if chunk.keyed:
            return self._insert_keyed(connection, chunk.jobs)
        return self._insert_packed(connection, self._sql.insert_many, chunk)

    def _insert_packed(self, connection: sa.Connection, statement: str, chunk: Chunk) -> list[int]:
        values = {"jobs": chunk.packed.decode()}
        ids: list[int] = connection.execute(sa.text(statement), values).scalar_one()
        return ids

    def _insert_keyed(self, connection: sa.Connection, jobs: Sequence[NewJob]) -> list[int]:
        connection.execute(sa.text(self._sql.free_keys), {"keys": claimed_keys(jobs)})
        keys = {"keys": [job.key for job in jobs if job.key is not None]}
        found: dict[int, int] = {}
        pending = dict(enumerate(jobs))
        while pending:
            chunk = Chunk(list(pending.values()))
            ids = self._insert_packed(connection, self._sql.insert_keyed, chunk)
            rows = connection.execute(sa.text(self._sql.by_keys), keys)
            taken = {row.key: row.id for row in rows}
            for (place, job), id in zip(pending.items(), ids, strict=True):
                if job.key is None:
                    found[place] = id
                elif job.key in taken:
                    found[place] = taken[job.key]
            # Again for a job that had the key and was deleted between the two statements.
            pending = {place: job for place, job in pending.items() if place not in found}
        return [found[place] for place in range(len(jobs))]

    def write_ticks(self, connection: sa.Connection, due: Sequence[TickWrite]) -> None:
        names = (
            *("id", "due", "next_at", "task", "arguments", "queue", "priority", "options"),
            *("outcome", "reason", "start", "awaiting"),
        )
        # One value, since psycopg dumps a list item by item.
        ticks = msgspec.json.encode([dict(zip(names, tick, strict=True)) for tick in due])
        raw(connection).execute(self._sql.write_ticks, (ticks.decode(),))
        ran = [tick for tick in due if tick.due is not None and tick.outcome == "run"]
        for queue, priority in {(tick.queue, tick.priority) for tick in ran}:
            self.notify(connection, Notification(Topic.TICK, queue, priority))

    def discover_lanes(self, connection: sa.Connection) -> LaneDiscovery:
        rows = raw(connection).execute(self._sql.discover_lanes, binary=True).fetchall()
        now, paused, *_ = rows[0]
        lanes = [Lane(*lane) for _, _, *lane in rows if lane[0] is not None]
        return LaneDiscovery(now, lanes, frozenset(paused))

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
        claimed: list[Claimed] = []
        for some in chunked(lanes, LANES_AT_ONCE):
            if len(claimed) < limit:
                room = limit - len(claimed)
                claimed += self._claim(connection, server_id, some, tasks, room, lost_below)
        return claimed

    def _claim(
        self,
        connection: sa.Connection,
        server_id: int,
        lanes: Sequence[Lane],
        tasks: Sequence[str],
        limit: int,
        lost_below: int,
    ) -> list[Claimed]:
        values: dict[str, Any] = {
            "tasks": list(tasks),
            "limit": limit,
            "server": server_id,
            "lost_below": lost_below,
        }
        for number, lane in enumerate(lanes):
            values[f"q{number}"] = lane.queue
            values[f"p{number}"] = lane.priority
            if lane.mark is not None:
                values[f"m{number}"] = lane.mark
        statement = self._sql.claim(tuple(lane.mark is not None for lane in lanes))
        rows = raw(connection).execute(statement, values, binary=True).fetchall()
        claimed = list(map(Claimed._make, rows))
        if len(claimed) > 1:
            # The update returns its rows in the order of their ids.
            claimed.sort(key=attrgetter("run_at", "id"))
        if len(lanes) > 1:
            place = {(lane.queue, lane.priority): number for number, lane in enumerate(lanes)}
            claimed.sort(key=lambda job: place[job.queue, job.priority])
        return claimed

    def release(self, connection: sa.Connection, jobs: Sequence[tuple[int, int]]) -> int:
        jobs = sorted(jobs)
        values = {
            "ids": literal([job[0] for job in jobs]),
            "claims": literal([job[1] for job in jobs]),
        }
        return raw(connection).execute(self._sql.release, values).rowcount

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
        counts = list(tallies)
        if successes and not (failures or entries or counts):
            return Accepted(self._succeed(driver, successes, time.monotonic()), set())
        # The transaction has one time, so there is one for what is reckoned from it. Taken before
        # it begins, lest a run seem to have begun before its job was made.
        moment = time.monotonic()
        with driver.transaction():
            # Lines before the end of their job: whoever sees the end sees all that was written.
            if entries:
                self._write_console(driver, entries, moment)
            succeeded = self._succeed(driver, successes, moment) if successes else 0
            failed = self._fail(driver, failures, moment) if failures else set()
            if counts:
                self._count(driver, counts, server_id)
        return Accepted(succeeded, failed)

    def _succeed(
        self, driver: psycopg.Connection[Any], successes: Sequence[Success], now: float
    ) -> int:
        successes = sorted(successes, key=BY_CLAIM)
        values: dict[str, Any] = {
            "ids": literal([run.id for run in successes]),
            "claims": literal([run.claim for run in successes]),
            "began": literal([int((now - run.started) * 1e6) for run in successes]),
            "ended": literal([int((now - run.finished) * 1e6) for run in successes]),
        }
        results = [run.result for run in successes]
        if any(result is not None for result in results):
            return driver.execute(
                self._sql.succeed_with_results, values | {"results": results}
            ).rowcount
        return driver.execute(self._sql.succeed, values).rowcount

    def _fail(
        self, driver: psycopg.Connection[Any], failures: Sequence[Failure], now: float
    ) -> set[int]:
        # A run may have been given back and have come to its end as well: the first word counts.
        first = {(run.id, run.claim): run for run in reversed(failures)}
        failures = [first[key] for key in sorted(first)]
        rows = driver.execute(
            self._sql.fail,
            {
                "ids": literal([run.id for run in failures]),
                "claims": literal([run.claim for run in failures]),
                "events": [run.event.key for run in failures],
                "delays": literal([_micros(run.retry_in) for run in failures]),
                "outcomes": [run.outcome.value for run in failures],
                "attempts": literal([run.attempt for run in failures]),
                "began": literal([int((now - run.started) * 1e6) for run in failures]),
                "ended": literal([int((now - run.finished) * 1e6) for run in failures]),
                "types": [run.error_type for run in failures],
                "messages": [run.message for run in failures],
                "tracebacks": [run.traceback for run in failures],
                "summaries": [run.summary for run in failures],
            },
        ).fetchall()
        return {row[0] for row in rows}

    def _write_console(
        self, driver: psycopg.Connection[Any], entries: Sequence[ConsoleRow], now: float
    ) -> None:
        # The last value of a bar wins; one statement may write a row only once.
        latest = {(entry.job_id, entry.claim, entry.seq): entry for entry in entries}.values()
        driver.execute(
            self._sql.write_console,
            {
                "ids": literal([entry.job_id for entry in latest]),
                "claims": literal([entry.claim for entry in latest]),
                "seqs": literal([entry.seq for entry in latest]),
                "ago": literal([int((now - entry.moment) * 1e6) for entry in latest]),
                "texts": [entry.text for entry in latest],
                "colors": _some([entry.color for entry in latest]),
                "levels": _some([entry.level for entry in latest]),
                "values": _some([entry.progress for entry in latest]),
                "more": _some([entry.more for entry in latest]),
            },
        )

    def _count(
        self, driver: psycopg.Connection[Any], tallies: Sequence[Tally], server_id: int
    ) -> None:
        driver.execute(
            self._sql.count,
            {
                "server": server_id,
                "tasks": [tally.task for tally in tallies],
                "succeeded": [tally.succeeded for tally in tallies],
                "failed": [tally.failed for tally in tallies],
                "retried": [tally.retried for tally in tallies],
                "run": [tally.run_seconds for tally in tallies],
                "wait": [tally.wait_seconds for tally in tallies],
            },
        )

    # -- hints

    def notify(self, connection: sa.Connection, notification: Notification) -> None:
        connection.execute(sa.select(sa.func.pg_notify(self._channel, notification.encode())))

    def listen(self, connection: sa.Connection) -> None:
        raw(connection).execute(SQL("LISTEN {}").format(Identifier(self._channel)))

    def receive(self, connection: sa.Connection, timeout: float) -> list[Notification]:
        driver = raw(connection)
        # After the first, all that came along with it.
        heard = {notice.payload for notice in driver.notifies(timeout=timeout, stop_after=1)}
        return [Notification.decode(payload) for payload in heard]

    # -- signs of life

    def presence(
        self, connection: sa.Connection, server_id: int, beside: Iterable[str] = ()
    ) -> str | None:
        # All backends of the process: some may be ended while it lives. Behind a pooler a backend
        # is everybody's, and its life says nothing.
        own: str | None = connection.info.get("presence")
        return None if own is None else "\n".join(dict.fromkeys((own, *beside)))

    def gone(self, connection: sa.Connection, presence: Sequence[str]) -> set[str]:
        # A backend of another role shows its pid only; that counts as a sign of life too.
        rows = (
            raw(connection)
            .execute(
                "SELECT given FROM unnest(%s::text[]) AS given WHERE NOT EXISTS ("
                " SELECT 1 FROM pg_stat_activity, unnest(string_to_array(given, E'\n')) AS backend"
                " WHERE pid = split_part(backend, ' ', 1)::int"
                f" AND coalesce({PRESENCE}, backend) = backend)",
                (list(presence),),
            )
            .fetchall()
        )
        return {row[0] for row in rows}

    def end_liveness(self) -> None:
        return


@contextmanager
def _ended(connection: sa.Connection) -> Iterator[None]:
    """Commit the transaction that was begun, or roll it back if the block raises."""
    try:
        yield
    except BaseException:
        if not connection.invalidated and not connection.closed:
            raw(connection).rollback()
        raise
    connection.exec_driver_sql("COMMIT")


def literal(numbers: Sequence[int | str]) -> str:
    """An array of whole numbers (or ``NULL``), as PostgreSQL writes it.

    psycopg dumps a list item by item in Python, which takes as long as everything else that is done
    for a job's end; for plain numbers a join does. And it gives the array the smallest type, which
    a plan made once for all turns into that of the column again and again, for each row.
    """
    return f"{{{','.join(map(str, numbers))}}}"


def _milliseconds(seconds: float) -> int:
    """A time limit as PostgreSQL has it. Not 0, which would be none."""
    return max(1, round(seconds * 1000))


def _micros(seconds: float | None) -> int | str:
    return "NULL" if seconds is None else int(seconds * 1e6)


def _some(values: list[Any]) -> list[Any] | None:
    """The values, or None if there is nothing but nulls: ``unnest`` fills up with them."""
    return values if any(value is not None for value in values) else None
