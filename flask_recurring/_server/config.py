"""How a server works."""

from __future__ import annotations

from dataclasses import dataclass

from .._store import Lease
from .cleaner import Retention
from .heartbeat import MISSED_HEARTBEATS


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """How a server works. Times are in seconds."""

    application: str
    version: str
    threads: int
    queues: tuple[str, ...]
    retention: Retention
    name: str | None = None
    dashboard: str | None = None
    """Where this process shows its pages, if it does."""
    poll_interval: float = 1.0
    shutdown_timeout: float = 8.0
    heartbeat_interval: float = 2.0
    server_timeout: float = 120.0
    console_max_lines: int = 10_000
    console_max_bytes: int = 1_048_576

    @property
    def lease(self) -> Lease:
        """How long the server may be silent."""
        return Lease(self.heartbeat_interval * MISSED_HEARTBEATS, self.server_timeout)
