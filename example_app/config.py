"""What the environment says.

``DATABASE_URL``
    Address of a PostgreSQL database (or of a SQLite file). Without it the shop and its jobs live in
    a SQLite file in the instance folder.
``DATABASE_PASSWORD_FILE``
    File that holds the password of that PostgreSQL database, for passwords and tokens that change:
    it is read at each new connection.
"""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import make_url

from flask_recurring import AllowAll

from .connection import ConnectionFactory


def from_environment() -> dict[str, Any]:
    """The application's configuration."""
    url = make_url(os.environ.get("DATABASE_URL") or "sqlite:///shop.sqlite3")
    if url.drivername in ("postgres", "postgresql"):
        # Without a driver SQLAlchemy would take psycopg2.
        url = url.set(drivername="postgresql+psycopg")
    config: dict[str, Any] = {
        "SQLALCHEMY_DATABASE_URI": url,
        "RECURRING_DASHBOARD_TITLE": "Example shop",
        # Everybody may use the dashboard of this demonstration. Don't copy this line: ask who it
        # is, by a hook such as this one for Flask-Login, in scheduler.py.
        #
        #     @scheduler.authorization
        #     def staff_only(request: Request) -> Access:
        #         if not current_user.is_authenticated:
        #             return Access.NONE
        #         return Access.OPERATE if current_user.is_admin else Access.READ
        "RECURRING_DASHBOARD_AUTHORIZATION": [AllowAll()],
    }
    password_file = os.environ.get("DATABASE_PASSWORD_FILE")
    if password_file:
        connect = ConnectionFactory(url, password_file)
        config["SQLALCHEMY_ENGINE_OPTIONS"] = {"creator": connect}
        config["RECURRING_CONNECTION_FACTORY"] = connect
    return config
