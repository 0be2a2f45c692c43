"""Runs the Python blocks of a documentation page in one namespace, and then the jobs they left.

What a page takes for given is here: an application ``app`` with Flask-SQLAlchemy as ``db`` and a
scheduler on it, and its context. A page that makes its own replaces them. Jobs of a function
whose name begins with ``failing`` may fail.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_recurring import JobState, Scheduler
from flask_recurring._flask.binding import Binding

PATIENCE = 60.0


def given() -> dict[str, Any]:
    """The names that a page begins with."""
    app = Flask("page", instance_path=str(Path.cwd() / "instance"))
    app.config.update(
        TESTING=True,
        SECRET_KEY="page",
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{Path.cwd() / 'page.sqlite3'}",
    )
    db = SQLAlchemy(app)
    scheduler = Scheduler(app, db)
    app.app_context().push()
    scheduler.list_recurring()  # the tables, before a session begins
    return {"app": app, "db": db, "scheduler": scheduler}


def main(page: Path) -> None:
    found = json.loads(page.read_text())
    # A module like any other: dataclasses and Flask look for theirs.
    module = ModuleType("page")
    module.__file__ = str(Path.cwd() / "page.py")
    sys.modules["page"] = module
    names = module.__dict__
    names.update(given())
    for block in found["blocks"]:
        code = "\n" * (block["line"] - 1) + block["text"]
        exec(compile(code, found["name"], "exec"), names)
    if any(name.startswith("test_") for name in names):
        run_tests(found["blocks"])
    apps = [value for value in names.values() if isinstance(value, Flask)]
    if "create_app" in names:
        apps.append(names["create_app"]())
    for app in apps:
        scheduler = app.extensions.get("recurring")
        if scheduler is not None and is_here(scheduler.binding_of(app)):
            run_jobs(scheduler.binding_of(app))


def run_tests(blocks: list[dict[str, Any]]) -> None:
    """Run the page's tests, from a file that begins with what the page takes for given."""
    folder = Path.cwd() / "tests"
    folder.mkdir()
    shutil.copy(__file__, folder)
    begin = f"from {Path(__file__).stem} import given\nglobals().update(given())\n"
    (folder / "test_page.py").write_text(begin + "".join(block["text"] for block in blocks))
    code = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder], cwd=folder
    ).returncode
    if code != 0:
        raise SystemExit("the tests on the page fail")


def is_here(binding: Binding) -> bool:
    """Whether the application's database is one that there really is."""
    settings = binding.settings
    return settings.connection_factory is None and ".example" not in (settings.database_url or "")


def run_jobs(binding: Binding) -> None:
    """Run what is due, and see that all of it succeeds."""
    jobs = binding.ready_store().jobs
    binding.start_server()
    deadline = time.monotonic() + PATIENCE
    while True:
        counts = jobs.counts()
        if not counts[JobState.ENQUEUED].value and not counts[JobState.PROCESSING].value:
            break
        if time.monotonic() > deadline:
            waiting = jobs.page(JobState.ENQUEUED).items
            raise SystemExit(f"these jobs did not end: {[job.task for job in waiting]}")
        time.sleep(0.02)
    binding.stop_server()
    for job in jobs.page(None, limit=1000).items:
        name = job.task.rsplit(".", 1)[-1]
        if job.error is not None and not name.startswith("failing"):
            (attempt, *_) = jobs.attempts(job.id)
            raise SystemExit(f"{job.task} failed: {attempt.traceback or attempt.message}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
