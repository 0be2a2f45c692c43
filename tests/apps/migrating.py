"""A shop whose tables are migrated by Flask-Migrate, in the folder that the test gives.

Started as a program it makes the first migration, applies it, enqueues a job, so that the jobs'
tables are there, and asks what another migration would do.
"""

from __future__ import annotations

import os

import flask_migrate
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_recurring import Scheduler

db = SQLAlchemy()
scheduler = Scheduler()


class Order(db.Model):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)


@scheduler.task()
def confirm(order_id: int) -> None:
    return


def create_app() -> Flask:
    app = Flask("migrating")
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    app.config["RECURRING_WORKER_ENABLED"] = False
    db.init_app(app)
    scheduler.init_app(app, db)
    flask_migrate.Migrate(
        app,
        db,
        directory=os.environ["MIGRATIONS"],
        include_name=scheduler.include_name,
        include_schemas=True,
    )
    return app


if __name__ == "__main__":
    with create_app().app_context():
        flask_migrate.init()
        confirm.enqueue(1)
        flask_migrate.migrate(message="first")
        flask_migrate.upgrade()
        flask_migrate.migrate(message="second")
        flask_migrate.downgrade()
        confirm.enqueue(2)
        print("jobs:", [scheduler.get_job(id) is not None for id in (1, 2)])
