"""The tables beside an application's own migrations."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from flask_sqlalchemy import SQLAlchemy

from flask_recurring import Scheduler
from tests.applications import Applications, store_of
from tests.processes import Spawn


def changes(engine: sa.Engine, models: sa.MetaData, include_name: Any = None) -> list[str]:
    """What a new migration would do to get from the database to the models."""
    with engine.connect() as connection:
        options = {"include_schemas": True, "include_name": include_name}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), models)
    return [f"{change[0]} {change[1].name}" for change in found]


class Shop:
    """An application whose jobs are in the database of its models."""

    def __init__(self, apps: Applications, url: str, **settings: Any) -> None:
        self.db = SQLAlchemy()
        self.scheduler = Scheduler()
        config = {"SQLALCHEMY_DATABASE_URI": url}
        self.app = apps.make(self.scheduler, db=self.db, config=config, **settings)
        store_of(self.app)
        with self.app.app_context():
            self.engine = self.db.engine


def test_the_tables_are_left_alone(apps: Applications, database_url: str) -> None:
    shop = Shop(apps, database_url)
    models = sa.MetaData()
    sa.Table("order", models, sa.Column("id", sa.Integer, primary_key=True))

    assert len(changes(shop.engine, models)) > 10, "as it is without the hook"
    assert changes(shop.engine, models, shop.scheduler.include_name) == ["add_table order"]
    models.create_all(shop.engine)
    assert changes(shop.engine, models, shop.scheduler.include_name) == []


def test_tables_of_the_same_schema_or_prefix_are_the_applications(
    apps: Applications, database_url: str
) -> None:
    shop = Shop(apps, database_url, schema="shop")
    schema = "shop" if shop.engine.dialect.name == "postgresql" else None
    models = sa.MetaData()
    for name, place in (("shop_orders", schema), ("job", None), ("attempt", None)):
        sa.Table(name, models, sa.Column("id", sa.Integer, primary_key=True), schema=place)
    models.create_all(shop.engine)

    assert changes(shop.engine, models, shop.scheduler.include_name) == []
    found = changes(shop.engine, sa.MetaData(), shop.scheduler.include_name)
    dropped = ["remove_table attempt", "remove_table job", "remove_table shop_orders"]
    assert sorted(found) == dropped


@pytest.mark.parametrize("shared", [True, False])
def test_the_tables_in_the_default_schema(
    apps: Applications, postgres_url: str, shared: bool
) -> None:
    shop = Shop(apps, postgres_url, schema="public", database_url=None if shared else postgres_url)
    models = sa.MetaData()
    sa.Table("order", models, sa.Column("id", sa.Integer, primary_key=True))

    assert changes(shop.engine, models, shop.scheduler.include_name) == ["add_table order"]


def test_a_hook_of_ones_own_beside_it(apps: Applications, database_url: str) -> None:
    shop = Shop(apps, database_url)
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE legacy (id integer)")

    def include_name(name: str | None, type_: str, parent_names: Mapping[Any, Any]) -> bool:
        return shop.scheduler.include_name(name, type_, parent_names) and name != "legacy"

    assert changes(shop.engine, sa.MetaData(), shop.scheduler.include_name) == [
        "remove_table legacy"
    ]
    assert changes(shop.engine, sa.MetaData(), include_name) == []


@pytest.mark.processes
def test_flask_migrate_leaves_them_alone(spawn: Spawn, tmp_path: Path, database_url: str) -> None:
    folder = tmp_path / "migrations"
    env = {"DATABASE_URL": database_url, "MIGRATIONS": str(folder)}
    process = spawn([sys.executable, "-m", "tests.apps.migrating"], env=env)

    assert process.wait(60) == 0, process.output()
    assert "jobs: [True, True]" in process.output()
    assert "No changes in schema detected" in process.output()
    [migration] = (folder / "versions").glob("*.py")
    assert "flask_recurring" not in migration.read_text()
    assert "create_table('order'" in migration.read_text()
    assert migration.read_text().count("op.") == 2
