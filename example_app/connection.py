"""Connections to PostgreSQL with a password that changes.

Cloud databases hand out tokens that are good for minutes, and secret stores rotate passwords. A
connection that stands goes on; a new one needs what is valid then. So nobody keeps the password:
the factory gets it whenever a connection is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL


class ConnectionFactory:
    """Opens psycopg connections with the password that stands in a file at that moment.

    :param url: the database; a password in it is not used.
    :param password_file: holds the password. To ask a token service instead, replace ``password``.
    """

    def __init__(self, url: URL, password_file: str) -> None:
        self._parameters = url.set(drivername="postgresql", password=None).render_as_string(
            hide_password=False
        )
        self._password_file = Path(password_file)

    def __call__(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._parameters, password=self.password(), connect_timeout=5)

    def password(self) -> str:
        """The password that is valid now."""
        return self._password_file.read_text(encoding="utf-8").strip()
