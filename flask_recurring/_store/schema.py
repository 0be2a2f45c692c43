"""The tables, as they are in the newest version of the schema.

One schema for both dialects. PostgreSQL keeps the tables in a schema of their own; SQLite has
none, so there the name becomes a prefix. How a database gets here is told in ``migrations``.

Whatever is bulky or only ever appended to stands beside the job table, not in it, and every index
of the job table covers only the rows it is read for: a job that is done is in no index that a
claim walks.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from .states import AWAITING, FINISHED, RUNNING, WAITING
from .types import Instant

LIVE_RUN = "recurring_id IS NOT NULL AND finished_at IS NULL"

Identity = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column that is exactly INTEGER PRIMARY KEY."""


class Tables:
    """The tables of one database, under one schema name."""

    def __init__(self, dialect: str, schema: str, bind_key: str | None = None) -> None:
        self.prefix = "" if dialect == "postgresql" else f"{schema}_"
        self.schema = schema if dialect == "postgresql" else None
        self.metadata = sa.MetaData(
            schema=self.schema,
            # Flask-SQLAlchemy's session finds the engine of a table by this key.
            info={} if bind_key is None else {"bind_key": bind_key},
        )
        self.job = self._job()
        self.attempt = self._attempt()
        self.console = self._console()
        self.recurring_job = self._recurring_job()
        self.tick = self._tick()
        self.server = self._server()
        self.manifest = self._manifest()
        self.queue = self._queue()
        self.statistics = self._statistics()
        self.audit = self._audit()
        self.chore = self._chore()

    def name(self, table: str) -> str:
        """The table's name as hand-written SQL needs it."""
        return f'"{self.schema}".{table}' if self.schema else f"{self.prefix}{table}"

    def _table(self, name: str, *items: sa.schema.SchemaItem, **options: Any) -> sa.Table:
        table: sa.Table = sa.Table(f"{self.prefix}{name}", self.metadata, *items, **options)
        return table

    def _index(
        self, name: str, *columns: str | sa.TextClause, where: str = "", unique: bool = False
    ) -> sa.Index:
        condition = sa.text(where) if where else None
        return sa.Index(
            f"{self.prefix}{name}",
            *columns,
            unique=unique,
            postgresql_where=condition,
            sqlite_where=condition,
        )

    def _job(self) -> sa.Table:
        return self._table(
            "job",
            sa.Column("id", Identity, sa.Identity(), primary_key=True),
            sa.Column("task", sa.Text, nullable=False),
            sa.Column("arguments", sa.Text, nullable=False),
            sa.Column("queue", sa.Text, nullable=False),
            sa.Column("priority", sa.Integer, nullable=False),
            # Scheduled is an enqueued job whose run_at lies ahead, so nothing has to move it.
            sa.Column("state", sa.Text, nullable=False),
            sa.Column("run_at", Instant, nullable=False),
            sa.Column("created_at", Instant, nullable=False),
            sa.Column("started_at", Instant),
            sa.Column("finished_at", Instant),
            sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
            sa.Column("claim", sa.Integer, nullable=False, server_default="0"),
            # How many servers died while they ran it.
            sa.Column("lost", sa.Integer, nullable=False, server_default="0"),
            # Set only while it runs; ran_on stays, so that one sees who ran it.
            sa.Column("server_id", sa.BigInteger),
            sa.Column("ran_on", sa.BigInteger),
            sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false()),
            sa.Column("recurring_id", sa.Text),
            sa.Column("due", Instant),
            sa.Column("key", sa.Text),
            # What this job has otherwise than its task: retry policy, time limit. JSON, or null.
            sa.Column("options", sa.Text),
            sa.Column("result", sa.Text),
            sa.Column("error", sa.Text),
            self._index("job_fetch", "queue", "priority", "run_at", "id", where=WAITING),
            # Declared on a column that is null for all but the running jobs, and not on the state:
            # the planner has figures for a column, and none for a condition that is rarely true.
            self._index("job_running", "server_id", where=RUNNING),
            self._index("job_finished", "state", "finished_at", "id", where=FINISHED),
            self._index("job_recurring", "recurring_id", "id", where="recurring_id IS NOT NULL"),
            # The runs of a recurring job that are not over: few, however long its past is.
            self._index("job_live_run", "recurring_id", "id", where=LIVE_RUN),
            self._index("job_awaiting", "id", where=AWAITING),
            self._index("job_key", "key", where="key IS NOT NULL", unique=True),
            # Ids are never given twice, whatever was deleted: they stand in logs and in links.
            sqlite_autoincrement=True,
        )

    def _attempt(self) -> sa.Table:
        return self._table(
            "attempt",
            sa.Column("job_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("claim", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("attempt", sa.Integer, nullable=False),
            sa.Column("outcome", sa.Text, nullable=False),
            sa.Column("started_at", Instant, nullable=False),
            sa.Column("finished_at", Instant, nullable=False),
            sa.Column("server_id", sa.BigInteger),
            sa.Column("error_type", sa.Text),
            sa.Column("message", sa.Text),
            sa.Column("traceback", sa.Text),
            sa.Column("retry_at", Instant),
        )

    def _console(self) -> sa.Table:
        return self._table(
            "console",
            # By claim, not by attempt: a job that is released starts its attempt anew.
            sa.Column("job_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("claim", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("at", Instant, nullable=False),
            sa.Column("text", sa.Text, nullable=False),
            sa.Column("color", sa.Text),
            sa.Column("level", sa.Text),
            # Null for a line; for a progress bar its value from 0 to 100.
            sa.Column("progress", sa.Float),
            # The lines after the first that were written along with it, as JSON: a row of its own
            # costs the database more than all else about a line.
            sa.Column("more", sa.Text),
        )

    def _recurring_job(self) -> sa.Table:
        return self._table(
            "recurring_job",
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("task", sa.Text, nullable=False),
            sa.Column("arguments", sa.Text, nullable=False),
            sa.Column("queue", sa.Text, nullable=False),
            sa.Column("priority", sa.Integer, nullable=False),
            sa.Column("options", sa.Text),
            # An expression, or an interval: @every 90s.
            sa.Column("cron", sa.Text, nullable=False),
            sa.Column("timezone", sa.Text, nullable=False),
            sa.Column("start_at", Instant),
            sa.Column("end_at", Instant),
            sa.Column("misfire", sa.Text, nullable=False),
            sa.Column("misfire_limit", sa.Integer, nullable=False),
            sa.Column("misfire_grace", sa.Float, nullable=False),
            sa.Column("overlap", sa.Text, nullable=False),
            sa.Column("jitter", sa.Float, nullable=False),
            sa.Column("keep", sa.Integer),
            # What the code gave, and what an operator put in its place: JSON. The columns above
            # hold what counts, which is the second over the first.
            sa.Column("declared", sa.Text, nullable=False),
            sa.Column("overrides", sa.Text),
            # Hashes of what the code gave before, newest first. JSON.
            sa.Column("superseded", sa.Text),
            # Whose code declares it; null for one that was made at run time.
            sa.Column("application", sa.Text),
            sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()),
            sa.Column("orphaned_at", Instant),
            # The next tick, null while there are none: then it waits in held_at.
            sa.Column("next_at", Instant),
            sa.Column("held_at", Instant),
            # Why nobody ticked since next_at, if it isn't that no server was there.
            sa.Column("absence", sa.Text),
            sa.Column("last_due", Instant),
            sa.Column("last_job_id", sa.BigInteger),
            # The last run that succeeded, once its job is purged.
            sa.Column("success_job_id", sa.BigInteger),
            sa.Column("success_due", Instant),
            sa.Column("success_started_at", Instant),
            sa.Column("success_finished_at", Instant),
            sa.Column("created_at", Instant, nullable=False),
            sa.Column("updated_at", Instant, nullable=False),
            self._index("recurring_job_due", "next_at", where="next_at IS NOT NULL"),
            self._index("recurring_job_orphan", "id", where="orphaned_at IS NOT NULL"),
            self._index("recurring_job_keep", "id", where="keep IS NOT NULL"),
        )

    def _tick(self) -> sa.Table:
        return self._table(
            "tick",
            sa.Column("id", Identity, sa.Identity(), primary_key=True),
            sa.Column("recurring_id", sa.Text, nullable=False),
            sa.Column("due", Instant),
            sa.Column("outcome", sa.Text, nullable=False),
            sa.Column("reason", sa.Text),
            sa.Column("job_id", sa.BigInteger),
            sa.Column("created_at", Instant, nullable=False),
            # This is what makes a tick happen once, whoever comes to it, and however often.
            self._index("tick_once", "recurring_id", "due", where="due IS NOT NULL", unique=True),
            self._index("tick_history", "recurring_id", "id"),
            self._index("tick_age", "created_at"),
        )

    def _server(self) -> sa.Table:
        return self._table(
            "server",
            sa.Column("id", Identity, sa.Identity(), primary_key=True),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("host", sa.Text, nullable=False),
            sa.Column("pid", sa.Integer, nullable=False),
            sa.Column("application", sa.Text, nullable=False),
            sa.Column("version", sa.Text, nullable=False),
            sa.Column("threads", sa.Integer, nullable=False),
            sa.Column("busy", sa.Integer, nullable=False, server_default="0"),
            sa.Column("queues", sa.Text, nullable=False),
            sa.Column("tasks", sa.Text, nullable=False, server_default="[]"),
            sa.Column("manifest", sa.Text),
            # What tells, from outside, that the process is gone: see the dialect's ``Presence``.
            sa.Column("presence", sa.Text),
            sa.Column("started_at", Instant, nullable=False),
            sa.Column("beat_at", Instant, nullable=False),
            sa.Column("stopped_at", Instant),
            # Until when it may be silent, as it said with its last heartbeat: see ``servers``.
            sa.Column("overdue_at", Instant),
            sa.Column("lease_ends_at", Instant),
            self._index("server_live", "id", where="stopped_at IS NULL"),
        )

    def _manifest(self) -> sa.Table:
        return self._table(
            "manifest",
            # What servers declare, by its hash: all that run the same code share a row, and a beat
            # doesn't touch it.
            sa.Column("id", sa.Text, primary_key=True),
            # The hash of each recurring job's declaration by its id. JSON.
            sa.Column("declares", sa.Text, nullable=False),
            sa.Column("used_at", Instant, nullable=False),
        )

    def _queue(self) -> sa.Table:
        return self._table(
            "queue",
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("paused_at", Instant),
            sa.Column("created_at", Instant, nullable=False),
        )

    def _statistics(self) -> sa.Table:
        return self._table(
            "statistics",
            # A row for each server, so that two of them never wait for one another's counter.
            sa.Column("minute", Instant, primary_key=True),
            sa.Column("task", sa.Text, primary_key=True),
            sa.Column("server_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("succeeded", sa.BigInteger, nullable=False),
            sa.Column("failed", sa.BigInteger, nullable=False),
            sa.Column("retried", sa.BigInteger, nullable=False),
            sa.Column("run_seconds", sa.Float, nullable=False),
            sa.Column("wait_seconds", sa.Float, nullable=False),
        )

    def _audit(self) -> sa.Table:
        return self._table(
            "audit",
            sa.Column("id", Identity, sa.Identity(), primary_key=True),
            sa.Column("at", Instant, nullable=False),
            sa.Column("actor", sa.Text, nullable=False),
            sa.Column("action", sa.Text, nullable=False),
            sa.Column("target", sa.Text, nullable=False),
            sa.Column("detail", sa.Text, nullable=False),
            self._index("audit_age", "at"),
        )

    def _chore(self) -> sa.Table:
        return self._table(
            "chore",
            # What one server at a time does now and then: whoever moves next_at on does it.
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("next_at", Instant, nullable=False),
        )
