"""The hot statements of SQLite, written out for one set of tables."""

from __future__ import annotations

from ..records import NewJob
from ..schema import Tables
from ..states import WAITING
from ..transitions import ENDS, Event, assignments

CLAIMED = assignments(Event.CLAIMED.columns, now="?1", server="?2")
SUCCEEDED = assignments(
    Event.SUCCEEDED.columns, began="run.column3", ended="run.column4", result="run.column5"
)


class Statements:
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
            VALUES (?, ?, ?, ?, {Event.ENQUEUED.state}, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING
            RETURNING id, created_at, run_at"""
        # For jobs without keys and times, as ``Chunk.packed`` writes them.
        field = {
            name: f"json_extract(value, '$[{place}]')" for place, name in enumerate(NewJob._fields)
        }
        self.insert_many = f"""
            INSERT INTO {job} (task, arguments, queue, priority, state, run_at, created_at,
                               recurring_id, options)
            SELECT {field["task"]}, {field["arguments"]}, {field["queue"]}, {field["priority"]},
                   {Event.ENQUEUED.state},
                   ? + CAST(round({field["delay"]} * 1000000) AS INTEGER), ?,
                   {field["recurring_id"]}, {field["options"]}
            FROM json_each(?)"""
        self.free_key = f"UPDATE {job} SET key = NULL WHERE key = ? AND finished_at IS NOT NULL"
        self.by_key = f"SELECT id FROM {job} WHERE key = ?"
        recurring, tick = tables.name("recurring_job"), tables.name("tick")
        self.insert_entry = f"""
            INSERT INTO {tick} (recurring_id, due, outcome, reason, created_at)
            VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (recurring_id, due) WHERE due IS NOT NULL DO NOTHING"""
        self.insert_tick = f"{self.insert_entry} RETURNING id"
        self.insert_run = f"""
            INSERT INTO {job} (task, arguments, queue, priority, state, run_at, created_at,
                               recurring_id, due, options)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
        self.name_job = f"UPDATE {tick} SET job_id = ? WHERE id = ?"
        self.move_on = f"""
            UPDATE {recurring} SET next_at = ?, absence = NULL, last_due = coalesce(?, last_due),
                last_job_id = coalesce(?, last_job_id) WHERE id = ?"""
        lane = f"SELECT queue, priority, run_at FROM {fetch} WHERE {WAITING}"
        self.first_lane = f"{lane} ORDER BY queue, priority, run_at LIMIT 1"
        self.later_lane = (
            f"{lane} AND (queue, priority) > (?, ?) ORDER BY queue, priority, run_at LIMIT 1"
        )
        self.paused = f"SELECT name FROM {tables.name('queue')} WHERE paused_at IS NOT NULL"
        # These runs did not begin.
        released = assignments(Event.RELEASED.unless_stopped, began="NULL", ended=":now")
        self.release = f"""
            UPDATE {job} SET {released}
            WHERE id = :id AND claim = :claim AND {Event.RELEASED.where}"""
        known = {
            "began": ":began",
            "ended": ":ended",
            "retry_at": ":retry_at",
            "error": ":summary",
        }
        self.fail = {
            event: f"""
            UPDATE {job} SET {assignments(event.unless_stopped, **known)}
            WHERE id = :id AND claim = :claim AND {event.where}
            RETURNING ran_on, state, run_at"""
            for event in ENDS
        }
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
                  AND lost < ? AND task IN ({names})
                ORDER BY run_at, id LIMIT ?)"""

    def take(self, count: int) -> str:
        """Make so many jobs this server's."""
        return f"""
            UPDATE {self._job}
            SET {CLAIMED}
            WHERE id IN ({_repeated("?", count)})"""

    def taken(self, count: int) -> str:
        """What there is to know of so many jobs, as one JSON text."""
        return f"""
            SELECT json_group_array(json_array(id, claim, attempt, task, arguments, queue, priority,
                                               run_at, recurring_id, due, options, lost))
            FROM {self._job} WHERE id IN ({_repeated("?", count)})"""

    def succeed(self, count: int) -> str:
        """Note the end of so many runs."""
        # Not as WITH … UPDATE, whose rows sqlite3 doesn't count. SQLite names the columns itself.
        return f"""
            UPDATE {self._job}
            SET {SUCCEEDED}
            FROM (VALUES {_repeated("(?, ?, ?, ?, ?)", count)}) AS run
            WHERE {self._job}.id = run.column1 AND {self._job}.claim = run.column2
              AND {Event.SUCCEEDED.where}"""

    def write_console(self, count: int) -> str:
        """Write so many console rows."""
        return f"""
            INSERT INTO {self._console} (job_id, claim, seq, at, text, color, level, progress,
                                         more)
            VALUES {_repeated("(?, ?, ?, ?, ?, ?, ?, ?, ?)", count)}
            ON CONFLICT (job_id, claim, seq) DO UPDATE SET progress = excluded.progress"""


def _repeated(item: str, count: int) -> str:
    return ", ".join([item] * count)
