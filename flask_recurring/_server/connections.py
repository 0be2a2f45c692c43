"""The dedicated connections of a server, one for each role."""

from __future__ import annotations

from .._log.logger import logger
from .._store import Database, DedicatedConnection


class Connections:
    """Opened on demand by the threads that use them; watched and closed by the supervisor."""

    def __init__(self, database: Database) -> None:
        self.claim = database.dedicated("claim")
        self.complete = database.dedicated("complete")
        self.heartbeat = database.dedicated("heartbeat")
        self.control = database.dedicated("control")
        self.listen = database.dedicated("listen")
        self.maintenance = database.dedicated("maintenance")

    def _all(self) -> tuple[DedicatedConnection, ...]:
        return (
            *(self.claim, self.complete, self.heartbeat),
            *(self.control, self.listen, self.maintenance),
        )

    def liveness(self) -> list[str]:
        """What those that are open say to other servers of the life of this process."""
        return [one.presence for one in self._all() if one.presence is not None]

    def abort_overdue(self) -> None:
        """Let statements fail that have not come back in time."""
        for one in self._all():
            if one.overdue:
                logger.warning("The database does not answer on the %s connection.", one.role)
                one.abort()

    def close(self) -> None:
        """Close all of them."""
        for one in self._all():
            one.close()
