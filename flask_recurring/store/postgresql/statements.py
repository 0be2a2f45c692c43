"""The hot statements of PostgreSQL, written out for one set of tables."""

from __future__ import annotations

from functools import lru_cache

from ..schema import WAITING, Tables


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
        insert = f"""
            INSERT INTO {job} (task, arguments, queue, priority, state, run_at, created_at,
                               recurring_id, due, key, options)
            VALUES (%(task)s, %(arguments)s, %(queue)s, %(priority)s, 'Enqueued',
                    coalesce(%(run_at)s::timestamptz, now() + %(delay)s * interval '1 second'),
                    now(), %(recurring_id)s, %(due)s, %(key)s, %(options)s)
            ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING
            RETURNING id, created_at, run_at"""
        self.insert = insert
        self.insert_and_hint = f"""
            WITH written AS ({insert})
            SELECT id, created_at, run_at, pg_notify(%(channel)s, %(payload)s) FROM written"""
        # In the order of the keys, so that two lists with the same ones don't deadlock.
        self.insert_keyed = f"""
            INSERT INTO {job} (id, task, arguments, queue, priority, state, run_at, created_at,
                               recurring_id, due, key, options)
            SELECT id, task, arguments, queue, priority, 'Enqueued',
                   coalesce(run_at, now() + delay * interval '1 second'), now(),
                   recurring_id, due, key, options
            FROM unnest(%(ids)s::bigint[], %(tasks)s::text[], %(arguments)s::text[],
                        %(queues)s::text[], %(priorities)s::int[], %(run_ats)s::timestamptz[],
                        %(delays)s::float8[], %(recurring_ids)s::text[], %(dues)s::timestamptz[],
                        %(keys)s::text[], %(options)s::text[])
                 AS given(id, task, arguments, queue, priority, run_at, delay, recurring_id, due,
                          key, options)
            ORDER BY key, id
            ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING"""
        self.by_keys = f"SELECT key, id FROM {job} WHERE key = ANY(%s)"
        self.draw_ids = (
            f"SELECT nextval(pg_get_serial_sequence('{job}', 'id')), clock_timestamp()"
            " FROM generate_series(1, %s)"
        )
        self.copy = (
            f"COPY {job} (id, task, arguments, queue, priority, state, run_at, created_at,"
            " recurring_id, due, options) FROM STDIN (FORMAT BINARY)"
        )
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
                       CASE WHEN awaiting THEN 'Awaiting' ELSE 'Enqueued' END,
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
        self.survey = f"""
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
        self.hand_back = f"""
            UPDATE {job} AS job
            SET state = CASE WHEN cancel_requested THEN 'Deleted' ELSE 'Enqueued' END,
                finished_at = CASE WHEN cancel_requested THEN now() END,
                server_id = NULL, started_at = NULL, attempt = attempt - 1
            FROM unnest(%(ids)s::bigint[], %(claims)s::int[]) AS given(id, claim)
            WHERE job.id = given.id AND job.claim = given.claim AND job.state = 'Processing'"""
        ended = "%(ids)s::bigint[], %(claims)s::int[], %(began)s::bigint[], %(ended)s::bigint[]"
        self.succeed, self.succeed_with_results = (
            f"""
            UPDATE {job} AS job
            SET state = 'Succeeded', result = {result}, error = NULL, server_id = NULL,
                started_at = now() - run.began * interval '1 microsecond',
                finished_at = now() - run.ended * interval '1 microsecond'
            FROM unnest({arrays}) AS run({columns})
            WHERE job.id = run.id AND job.claim = run.claim AND job.state = 'Processing'"""
            for result, arrays, columns in (
                ("NULL", ended, "id, claim, began, ended"),
                ("run.result", f"{ended}, %(results)s::text[]", "id, claim, began, ended, result"),
            )
        )
        self.set_back = f"""
            WITH run AS (
                SELECT * FROM unnest(%(ids)s::bigint[], %(claims)s::int[], %(states)s::text[],
                    %(delays)s::float8[], %(returned)s::int[], %(outcomes)s::text[],
                    %(attempts)s::int[], %(began)s::float8[], %(ended)s::float8[],
                    %(types)s::text[], %(messages)s::text[], %(tracebacks)s::text[],
                    %(summaries)s::text[])
                AS run(id, claim, state, delay, returned, outcome, attempt, began, ended,
                       type, message, traceback, summary)),
            changed AS (
                UPDATE {job} AS job
                SET state = CASE WHEN job.cancel_requested THEN 'Deleted' ELSE run.state END,
                    run_at = CASE WHEN run.delay IS NULL THEN job.run_at
                                  ELSE now() + run.delay * interval '1 second' END,
                    attempt = job.attempt - run.returned,
                    started_at = CASE WHEN run.state = 'Enqueued' AND NOT job.cancel_requested
                                      THEN NULL ELSE now() - run.began * interval '1 second' END,
                    finished_at = CASE WHEN run.state = 'Enqueued' AND NOT job.cancel_requested
                                       THEN NULL ELSE now() - run.ended * interval '1 second' END,
                    error = CASE WHEN run.returned = 1 THEN job.error ELSE run.summary END,
                    server_id = NULL
                FROM run
                WHERE job.id = run.id AND job.claim = run.claim AND job.state = 'Processing'
                RETURNING job.id, job.claim, job.ran_on, job.state, job.run_at)
            INSERT INTO {attempt} (job_id, claim, attempt, outcome, started_at, finished_at,
                                   server_id, error_type, message, traceback, retry_at)
            SELECT run.id, run.claim, run.attempt, run.outcome,
                   now() - run.began * interval '1 second', now() - run.ended * interval '1 second',
                   changed.ran_on, run.type, run.message, run.traceback,
                   CASE WHEN changed.state = 'Enqueued' AND run.returned = 0
                        THEN changed.run_at END
            FROM run JOIN changed USING (id, claim)
            RETURNING job_id"""
        self.write_console = f"""
            INSERT INTO {console} (job_id, claim, seq, at, text, color, level, progress)
            SELECT id, claim, seq, now() - ago * interval '1 second', text, color, level, progress
            FROM unnest(%(ids)s::bigint[], %(claims)s::int[], %(seqs)s::int[], %(ago)s::float8[],
                        %(texts)s::text[], %(colors)s::text[], %(levels)s::text[],
                        %(values)s::float8[])
                 AS entry(id, claim, seq, ago, text, color, level, progress)
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
            SET state = 'Processing', claim = claim + 1, attempt = attempt + 1,
                started_at = now(), server_id = %(server)s, ran_on = %(server)s
            WHERE id = ANY(ARRAY(SELECT id FROM picked))
            RETURNING id, claim, attempt, task, arguments, queue, priority, run_at,
                      extract(epoch FROM now() - run_at)::float8, recurring_id, due, options,
                      lost"""
