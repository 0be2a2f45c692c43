"""An example: a small shop whose jobs are scheduled and run by the application itself.

``flask --app example_app run`` starts it, on a SQLite file in the instance folder. With
``DATABASE_URL`` it uses PostgreSQL: see ``config``.
"""

from __future__ import annotations

from flask import Flask

from . import config, database, jobs, shop
from .database import db
from .scheduler import scheduler

# What registers the jobs is that their modules are imported: a server runs only tasks it knows.
__all__ = ["create_app", "jobs"]


def create_app() -> Flask:
    """Make the application. Safe in any number of processes at once."""
    app = Flask(__name__)
    app.config.from_mapping(config.from_environment())
    # FLASK_RECURRING_WORKERS=4 and the like.
    app.config.from_prefixed_env()
    db.init_app(app)
    scheduler.init_app(app, db)
    app.register_blueprint(shop.pages)
    database.create_tables_at_start(app)
    return app
