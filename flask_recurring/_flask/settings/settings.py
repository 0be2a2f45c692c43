"""All settings, read once from Flask's configuration when the extension is set up on an app.

A setting's name in the configuration is ``RECURRING_`` and the field's name in capitals. What is
wrong or unknown is an error then and there, so that no typing error waits for production.
"""

from __future__ import annotations

import difflib
import os
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Self

from ..._server.cleaner import Retention
from ...errors import ConfigurationError
from . import setting

PREFIX = "RECURRING_"


def default_workers() -> int:
    """Five threads for each core that this process may use, and no more than 20."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    return min(5 * cores, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the extension on one app. Lengths of time are in seconds, unless said.

    ``Settings()`` has the defaults; :meth:`from_config` reads and checks what an app says.
    """

    database_url: str | None = field(
        default=None, repr=False, metadata={"read": setting.database, "secret": True}
    )
    """Address of the jobs' database, PostgreSQL or SQLite. None: the one that ``bind_key`` says,
    Flask-SQLAlchemy's default, or a SQLite file in the instance folder."""

    bind_key: str | None = field(default=None, metadata={"read": setting.optional_text})
    """The Flask-SQLAlchemy bind that holds the jobs. None: the default one."""

    connection_factory: Callable[[], Any] | None = field(
        default=None, repr=False, metadata={"read": setting.factory}
    )
    """Called without arguments for each new driver connection, in place of an address. For
    passwords and tokens that change. None: connect by address."""

    schema: str = field(default="flask_recurring", metadata={"read": setting.schema})
    """PostgreSQL schema of the tables; in SQLite the prefix of their names."""

    connect_timeout: float = field(default=5.0, metadata={"read": setting.seconds(600)})
    """Seconds after which an attempt to connect to the database is given up."""

    statement_timeout: float = field(default=10.0, metadata={"read": setting.seconds(86_400)})
    """Seconds after which a statement of the server's own is given up. Jobs' own are free."""

    worker_enabled: bool = field(default=True, metadata={"read": setting.flag})
    """True: the processes that serve the app also run jobs."""

    workers: int = field(
        default_factory=default_workers, metadata={"read": setting.whole(1, 1_000)}
    )
    """Threads that run jobs, in each process. Default: five for each core, at most 20."""

    queues: tuple[str, ...] = field(default=("*",), metadata={"read": setting.queues})
    """The queues that this process takes jobs from, in order of precedence. ``*`` stands for every
    queue that is not named."""

    server_name: str | None = field(default=None, metadata={"read": setting.optional_text})
    """The name under which this process shows in the dashboard. None: host and process id."""

    poll_interval: float = field(default=1.0, metadata={"read": setting.seconds(3_600)})
    """Seconds between two looks for jobs where no notification comes."""

    shutdown_timeout: float = field(
        default=8.0, metadata={"read": setting.seconds(86_400, zero=True)}
    )
    """Seconds that running jobs have to finish at shutdown, before they are released."""

    heartbeat_interval: float = field(default=2.0, metadata={"read": setting.seconds(3_600)})
    """Seconds between two heartbeats of a server."""

    server_timeout: float = field(default=120.0, metadata={"read": setting.seconds(86_400)})
    """Seconds of silence after which a server counts as dead, though its connection still stands,
    and its jobs run elsewhere. More than twice the heartbeat's interval."""

    console_max_lines: int = field(default=10_000, metadata={"read": setting.whole(1, 10_000_000)})
    """Lines of console output that are kept of one run; what comes after is left out."""

    console_max_bytes: int = field(
        default=1_048_576, metadata={"read": setting.whole(1_024, 1_073_741_824)}
    )
    """Bytes of console output that are kept of one run; what comes after is left out."""

    retention_succeeded: timedelta | None = field(
        default=timedelta(days=1), metadata={"read": setting.retention}
    )
    """How long jobs that succeeded are kept. None: for ever."""

    retention_deleted: timedelta | None = field(
        default=timedelta(days=1), metadata={"read": setting.retention}
    )
    """How long deleted jobs are kept. None: for ever."""

    retention_failed: timedelta | None = field(
        default=timedelta(days=30), metadata={"read": setting.retention}
    )
    """How long failed jobs are kept. None: for ever."""

    retention_statistics: timedelta | None = field(
        default=timedelta(days=30), metadata={"read": setting.retention}
    )
    """How long the figures of each minute are kept. None: for ever."""

    retention_ticks: timedelta | None = field(
        default=timedelta(days=30), metadata={"read": setting.retention}
    )
    """How long the history of recurring jobs is kept: what became of each tick. None: for ever."""

    retention_audit: timedelta | None = field(
        default=timedelta(days=365), metadata={"read": setting.retention}
    )
    """How long the record of what was done in the dashboard is kept. None: for ever."""

    dashboard_enabled: bool = field(default=True, metadata={"read": setting.flag})
    """True: the app has the dashboard's pages."""

    dashboard_url_prefix: str = field(default="/hangfire", metadata={"read": setting.url_prefix})
    """The path under which the dashboard stands."""

    dashboard_authorization: tuple[Callable[..., Any], ...] = field(
        default=(), metadata={"read": setting.hooks}
    )
    """Hooks that say what a request may do; the lowest answer counts. Empty: only direct local
    requests in debug mode may do anything, and nobody else."""

    dashboard_title: str = field(default="Recurring jobs", metadata={"read": setting.text})
    """The title of the dashboard's pages."""

    dashboard_back_url: str = field(default="/", metadata={"read": setting.link})
    """Where the dashboard's link back to the site leads."""

    dashboard_poll_interval: float = field(default=2.0, metadata={"read": setting.seconds(3_600)})
    """Seconds between two refreshes of an open page."""

    dashboard_page_size: int = field(default=50, metadata={"read": setting.whole(1, 1_000)})
    """Rows on a page of the dashboard's lists."""

    @property
    def retention(self) -> Retention:
        """How long each kind of thing is kept."""
        return Retention(
            succeeded=self.retention_succeeded,
            failed=self.retention_failed,
            deleted=self.retention_deleted,
            statistics=self.retention_statistics,
            ticks=self.retention_ticks,
            audit=self.retention_audit,
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Read the settings from Flask's configuration, or any mapping.

        :raises ConfigurationError: settings are wrong or unknown. The message has a line for each,
            with its name, what was given and what would be right. It never holds an address.
        """
        known = {PREFIX + one.name.upper(): one for one in fields(cls)}
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for key, value in config.items():
            if not isinstance(key, str) or not key.startswith(PREFIX):
                continue
            one = known.get(key)
            if one is None:
                wrong.append(_unknown(key, known))
                continue
            try:
                values[one.name] = one.metadata["read"](value)
            except ValueError as error:
                given = "what was given" if one.metadata.get("secret") else _shown(value)
                wrong.append(f"{key} can't be {given}; it must be {error}")
        settings = None if wrong else cls(**values)
        wrong += settings._contradictions() if settings else ()
        if settings is None or wrong:
            raise ConfigurationError("\n".join(wrong))
        return settings

    def _contradictions(self) -> list[str]:
        found = []
        if self.database_url is not None and self.connection_factory is not None:
            found.append(
                f"{PREFIX}DATABASE_URL and {PREFIX}CONNECTION_FACTORY can't both be given; leave "
                "one of them out"
            )
        if self.server_timeout <= 2 * self.heartbeat_interval:
            found.append(
                f"{PREFIX}SERVER_TIMEOUT can't be {self.server_timeout:g}; it must be more than "
                f"twice {PREFIX}HEARTBEAT_INTERVAL, which is {self.heartbeat_interval:g}, or a "
                "server that is alive is taken for dead"
            )
        return found


def _unknown(key: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if near:
        return f"{key} is no setting; did you mean {near[0]}?"
    return f"{key} is no setting; those that are: {', '.join(sorted(known))}"


def _shown(value: object) -> str:
    # An address that was put under the wrong name is kept out of messages too.
    return "an address" if "://" in str(value) else reprlib.repr(value)
