"""PostgreSQL: notifications, by LISTEN and NOTIFY."""

from __future__ import annotations

import sqlalchemy as sa
from psycopg.sql import SQL, Identifier

from ..notification import Notification
from .connection import raw
from .throttle import Throttle


class Notifications:
    """Sends and receives notifications. See ``Driver``."""

    _channel: str
    _throttle: Throttle

    def notify(self, connection: sa.Connection, notification: Notification) -> None:
        connection.execute(sa.select(sa.func.pg_notify(self._channel, notification.encode())))

    def listen(self, connection: sa.Connection) -> None:
        raw(connection).execute(SQL("LISTEN {}").format(Identifier(self._channel)))

    def receive(self, connection: sa.Connection, timeout: float) -> list[Notification]:
        driver = raw(connection)
        # After the first, all that came along with it.
        heard = {notice.payload for notice in driver.notifies(timeout=timeout, stop_after=1)}
        return [Notification.decode(payload) for payload in heard]
