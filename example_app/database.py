"""The shop's own database, by Flask-SQLAlchemy. The jobs live in the same one."""

from __future__ import annotations

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase

from flask_recurring import StoreUnavailable

from .scheduler import scheduler


class Base(DeclarativeBase):
    """Base of the models. Type checkers can follow it, which they can't with ``db.Model``."""


db = SQLAlchemy(model_class=Base)

ANY_NUMBER = 7228
"""Names the lock under which the tables are created."""

TABLES_EXIST = "shop.tables"


def create_tables() -> None:
    """Create the tables that are missing. (An application with migrations runs those instead.)

    ``db.create_all()`` looks and then creates, so of two processes that start together one would
    fail. Here the second waits for the first, and then finds the tables.
    """
    with db.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(ANY_NUMBER)))
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        db.metadata.create_all(connection)
    # The scheduler makes its own tables when it is first used. On SQLite, which has one writer at
    # a time, the first use must not be within an order's transaction, so it is here.
    scheduler.list_recurring()
    current_app.extensions[TABLES_EXIST] = True


def create_tables_at_start(app: Flask) -> None:
    """Create the tables; if the database is down at this moment, the first page does it."""
    with app.app_context():
        try:
            create_tables()
        except (OperationalError, StoreUnavailable) as error:
            app.logger.warning("The database can't be reached yet: %s", error)
        finally:
            # No open connection may stay behind: a server may fork now.
            db.engine.dispose()


def ensure_tables() -> None:
    """Create the tables unless this process did so at its start."""
    if TABLES_EXIST not in current_app.extensions:
        create_tables()
