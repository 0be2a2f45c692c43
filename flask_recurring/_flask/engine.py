"""The database of one application: the first that applies.

It is what a connection factory opens, ``RECURRING_DATABASE_URL``, Flask-SQLAlchemy's bind, or a
SQLite file in the instance folder.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import sqlalchemy as sa
from flask import Flask

from .._store import create_engine
from ..errors import ConfigurationError
from .settings import Settings
from .settings.database_url import normalise

if TYPE_CHECKING:
    from flask_sqlalchemy import SQLAlchemy


def engine_of(app: Flask, settings: Settings, db: SQLAlchemy | None) -> sa.Engine:
    """The engine for an application's jobs.

    :param db: what ``init_app`` was given; by default what is set up on the application.
    :raises ConfigurationError: the bind is not there.
    """
    if settings.connection_factory is not None:
        return create_engine("postgresql+psycopg://", factory=settings.connection_factory)
    if settings.database_url is not None:
        return _own(settings, settings.database_url)
    db = db or app.extensions.get("sqlalchemy")
    if db is not None:
        return _shared(app, settings, cast("SQLAlchemy", db))
    if settings.bind_key is not None:
        raise ConfigurationError(
            f"RECURRING_BIND_KEY is {settings.bind_key!r}, but Flask-SQLAlchemy is not set up "
            "on this application: call db.init_app(app), or set RECURRING_DATABASE_URL"
        )
    os.makedirs(app.instance_path, exist_ok=True)
    file = os.path.join(app.instance_path, "recurring.sqlite3")
    return _own(settings, sa.URL.create("sqlite", database=file))


def _own(settings: Settings, url: str | sa.URL) -> sa.Engine:
    return create_engine(url, connect_timeout=settings.connect_timeout)


def _shared(app: Flask, settings: Settings, db: SQLAlchemy) -> sa.Engine:
    if "sqlalchemy" not in app.extensions:
        raise ConfigurationError(
            "the scheduler was given a Flask-SQLAlchemy object that is not set up on this "
            "application: call db.init_app(app)"
        )
    with app.app_context():
        engines = db.engines
    key = settings.bind_key
    if key not in engines:
        raise ConfigurationError(
            f"RECURRING_BIND_KEY is {key!r}, which is no key of SQLALCHEMY_BINDS; there are "
            f"{', '.join(sorted(repr(name) for name in engines))}"
        )
    engine = engines[key]
    if engine.dialect.name == "postgresql" and engine.dialect.driver != "psycopg":
        # The same database by the driver that this package speaks.
        return _own(settings, normalise(engine.url))
    return engine
