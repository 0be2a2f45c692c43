"""The hot statements of PostgreSQL, written out for one set of tables."""

from __future__ import annotations

from functools import lru_cache

from ..records import NewJob
from ..schema import Tables
from ..states import WAITING
from ..transitions import ENDS, Event, assignments, by_event
from ..types import in_microseconds

PLACE = "width_bucket(id, %(ids)s::bigint[])"
"""Where a row's id stands among those given, which must be in order: found by halving."""


def _at(array: str) -> str:
    """What is given for the row: ``_at("began bigint")`` is of ``%(began)s``, an array."""
    name, kind = array.split()
    # An array of texts is dumped many times as fast in binary, which needs no quotes.
    return f"(%({name}){'b' if kind == 'text' else 's'}::{kind}[])[{PLACE}]"


# No join: the planner, if it takes the job table for small or has made its plan when it was, would
# read all of it and compare each row with all that are given. The subquery hides how many they are.
GIVEN = f"""id = ANY((SELECT %(ids)s::bigint[])::bigint[]) AND claim = {_at("claims int")}"""

# Over the application's connections: text of a date would be in its session's style.
CREATED = f"{in_microseconds('created_at')} AS created"
RUN = f"{in_microseconds('run_at')} AS run"

MICROSECOND = "interval '1 microsecond'"
CLAIMED = assignments(Event.CLAIMED.columns, now="now()", server="%(server)s")


class Statements:
    """The hot statements of one schema."""

    def __init__(self, tables: Tables) -> None:
        self._job = job = tables.name("job")
        server = tables.name("server")
        attempt = tables.name("attempt")
        console = tables.name("console")
        statistics = tables.name("statistics")
        self._alive = (
            f"EXISTS (SELECT 1 FROM {server} WHERE id = %(server)s AND stopped_at IS NULL)"
        )
        # Nearly all jobs are like the first: six values less, and no key to look for. Each with
        # and without a notification.
        plain = f"""
            INSERT INTO {job} (task, arguments, queue, priority, state, run_at, created_at)
            VALUES (%(task)s, %(arguments)s, %(queue)s, %(priority)s, {Event.ENQUEUED.state},
                    now(), now())
            RETURNING id, {CREATED}, {RUN}"""
        other = f"""
            INSERT INTO {job} (task, arguments, queue, priority, state, run_at, created_at,
                               recurring_id, due, key, options)
            VALUES (%(task)s, %(arguments)s, %(queue)s, %(priority)s, {Event.ENQUEUED.state},
                    coalesce(%(run_at)s::timestamptz, now() + %(delay)s * interval '1 second'),
                    now(), %(recurring_id)s, %(due)s, %(key)s, %(options)s)
            ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING
            RETURNING id, {CREATED}, {RUN}"""
        self.insert_plain, self.insert = (
            {
                False: insert,
                True: f"""
            WITH written AS ({insert})
            SELECT id, created, run, pg_notify(%(channel)s, %(payload)s) FROM written""",
            }
            for insert in (plain, other)
        )
        # For any driver of SQLAlchemy's, since it goes over the application's connections too. The
        # jobs are one value, as ``Chunk.packed`` writes them: as many values of a column each, or
        # by COPY, they cost a client twenty times as much.
        given = {
            "task": "text",
            "arguments": "text",
            "queue": "text",
            "priority": "int",
            "run_at": "timestamptz",
            "delay": "float8",
            "recurring_id": "text",
            "due": "timestamptz",
            "key": "text",
            "options": "text",
        }
        fields = ", ".join(
            f"CAST(value->>{NewJob._fields.index(name)} AS {kind}) AS {name}"
            for name, kind in given.items()
        )
        # In the order of the keys, so that two lists with the same ones don't deadlock.
        self.insert_many, self.insert_keyed = (
            f"""
            WITH given AS MATERIALIZED (
                SELECT nextval((SELECT CAST(pg_get_serial_sequence('{job}', 'id') AS regclass)))
                       AS id, {fields}
                FROM jsonb_array_elements(CAST(:jobs AS jsonb))),
            written AS (
                INSERT INTO {job} (id, task, arguments, queue, priority, state, run_at, created_at,
                                   recurring_id, due, key, options)
                SELECT id, task, arguments, queue, priority, {Event.ENQUEUED.state},
                       coalesce(run_at, now() + delay * interval '1 second'), now(),
                       recurring_id, due, key, options
                FROM given {how})
            SELECT array_agg(id ORDER BY id) FROM given"""
            for how in (
                "",
                "ORDER BY key, id ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING",
            )
        )
        # In the order of the keys, likewise.
        self.free_keys = f"""
            UPDATE {job} SET key = NULL
            WHERE id = ANY(ARRAY(SELECT id FROM {job}
                                 WHERE key = ANY(CAST(:keys AS text[])) AND finished_at IS NOT NULL
                                 ORDER BY key FOR UPDATE))"""
        self.by_keys = f"SELECT key, id FROM {job} WHERE key = ANY(CAST(:keys AS text[]))"
        recurring, tick = tables.name("recurring_job"), tables.name("tick")
        # Ids of jobs are drawn for all runs, and which of them count is asked of an array: as joins
        # these would be nested loops, hundreds of rows by hundreds.
        self.write_ticks = f"""
            WITH given AS MATERIALIZED (
                SELECT *, CASE WHEN due IS NOT NULL AND outcome = 'run'
                          THEN nextval(pg_get_serial_sequence('{job}', 'id')) END AS job_id
                FROM json_to_recordset(%s::json)
                AS given(id text, due timestamptz, next_at timestamptz, task text, arguments text,
                         queue text, priority int, options text, outcome text, reason text,
                         start timestamptz, awaiting bool)),
            fresh AS (
                INSERT INTO {tick} (recurring_id, due, outcome, reason, job_id, created_at)
                SELECT id, due, outcome, reason, job_id, now() FROM given WHERE due IS NOT NULL
                ON CONFLICT (recurring_id, due) WHERE due IS NOT NULL DO NOTHING
                RETURNING job_id),
            written AS (
                INSERT INTO {job} (id, task, arguments, queue, priority, state, run_at,
                                   created_at, recurring_id, due, options)
                SELECT job_id, task, arguments, queue, priority,
                       CASE WHEN awaiting THEN {Event.AWAITED.state}
                            ELSE {Event.ENQUEUED.state} END,
                       coalesce(start, now()), now(), id, due, options
                FROM given WHERE job_id = ANY(ARRAY(SELECT job_id FROM fresh)))
            UPDATE {recurring} AS row
            SET next_at = moved.next_at, absence = NULL,
                last_due = coalesce(moved.due, row.last_due),
                last_job_id = coalesce(moved.job_id, row.last_job_id)
            FROM (SELECT id, max(next_at) AS next_at,
                         max(due) FILTER (WHERE outcome = 'run') AS due,
                         max(job_id) FILTER (
                             WHERE job_id = ANY(ARRAY(SELECT job_id FROM fresh))) AS job_id
                  FROM given GROUP BY id) AS moved
            WHERE row.id = moved.id"""
        self.discover_lanes = f"""
            WITH RECURSIVE lane AS (
                (SELECT queue, priority, run_at FROM {job} WHERE {WAITING}
                 ORDER BY queue, priority, run_at LIMIT 1)
                UNION ALL
                SELECT later.* FROM lane, LATERAL (
                    SELECT queue, priority, run_at FROM {job}
                    WHERE {WAITING} AND (queue, priority) > (lane.queue, lane.priority)
                    ORDER BY queue, priority, run_at LIMIT 1) AS later)
            SELECT now(), paused, lane.*
            FROM (SELECT ARRAY(SELECT name FROM {tables.name("queue")}
                               WHERE paused_at IS NOT NULL) AS paused) AS always
                 LEFT JOIN lane ON true"""
        # These runs did not begin.
        released = assignments(
            Event.RELEASED.unless_stopped, began="NULL::timestamptz", ended="now()"
        )
        self.release = f"""
            UPDATE {job} AS job SET {released}
            WHERE {GIVEN} AND {Event.RELEASED.where}"""
        began, ended = (
            f"now() - {_at(f'{name} bigint')} * {MICROSECOND}" for name in ("began", "ended")
        )
        self.succeed, self.succeed_with_results = (
            f"""
            UPDATE {job} AS job
            SET {assignments(Event.SUCCEEDED.columns, began=began, ended=ended, result=result)}
            WHERE {GIVEN} AND {Event.SUCCEEDED.where}"""
            for result in ("NULL", _at("results text"))
        )
        failed = assignments(
            by_event(_at("events text"), ENDS),
            began=began,
            ended=ended,
            retry_at=f"now() + {_at('delays bigint')} * {MICROSECOND}",
            error=_at("summaries text"),
        )
        retried = f"{_at('events text')} = '{Event.RETRIED.key}' AND state = {Event.RETRIED.state}"
        self.fail = f"""
            WITH changed AS (
                UPDATE {job} AS job SET {failed}
                WHERE {GIVEN} AND {Event.FAILED.where}
                RETURNING id, claim, ran_on, state, run_at)
            INSERT INTO {attempt} (job_id, claim, attempt, outcome, started_at, finished_at,
                                   server_id, error_type, message, traceback, retry_at)
            SELECT id, claim, {_at("attempts int")}, {_at("outcomes text")}, {began}, {ended},
                   ran_on, {_at("types text")}, {_at("messages text")}, {_at("tracebacks text")},
                   CASE WHEN {retried} THEN run_at END
            FROM changed
            RETURNING job_id"""
        self.write_console = f"""
            INSERT INTO {console} (job_id, claim, seq, at, text, color, level, progress, more)
            SELECT id, claim, seq, now() - ago * interval '1 microsecond', text, color, level,
                   progress, more
            FROM unnest(%(ids)s::bigint[], %(claims)s::int[], %(seqs)s::int[], %(ago)s::bigint[],
                        %(texts)b::text[], %(colors)b::text[], %(levels)b::text[],
                        %(values)b::float8[], %(more)b::text[])
                 AS entry(id, claim, seq, ago, text, color, level, progress, more)
            ON CONFLICT (job_id, claim, seq) DO UPDATE SET progress = EXCLUDED.progress"""
        self.count = f"""
            INSERT INTO {statistics} AS old (minute, task, server_id, succeeded, failed, retried,
                                             run_seconds, wait_seconds)
            SELECT date_trunc('minute', now()), task, %(server)s, succeeded, failed, retried,
                   run, wait
            FROM unnest(%(tasks)s::text[], %(succeeded)s::bigint[], %(failed)s::bigint[],
                        %(retried)s::bigint[], %(run)s::float8[], %(wait)s::float8[])
                 AS new(task, succeeded, failed, retried, run, wait)
            ON CONFLICT (minute, task, server_id) DO UPDATE
            SET succeeded = old.succeeded + EXCLUDED.succeeded,
                failed = old.failed + EXCLUDED.failed,
                retried = old.retried + EXCLUDED.retried,
                run_seconds = old.run_seconds + EXCLUDED.run_seconds,
                wait_seconds = old.wait_seconds + EXCLUDED.wait_seconds"""
        self.claim = lru_cache(maxsize=256)(self._claim)

    def _claim(self, marked: tuple[bool, ...]) -> str:
        lanes = " UNION ALL ".join(
            f"""SELECT id FROM (
                SELECT id FROM {self._job}
                WHERE {WAITING} AND queue = %(q{number})s AND priority = %(p{number})s
                  AND run_at <= now(){f" AND run_at >= %(m{number})s" if mark else ""}
                  AND task = ANY(%(tasks)s) AND lost < %(lost_below)s
                ORDER BY run_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS lane{number}"""
            for number, mark in enumerate(marked)
        )
        return f"""
            WITH picked AS MATERIALIZED (
                SELECT id FROM ({lanes}) AS lanes WHERE {self._alive} LIMIT %(limit)s)
            UPDATE {self._job} AS job
            SET {CLAIMED}
            WHERE id = ANY(ARRAY(SELECT id FROM picked))
            RETURNING id, claim, attempt, task, arguments, queue, priority, run_at,
                      extract(epoch FROM now() - run_at)::float8, recurring_id, due, options,
                      lost"""
