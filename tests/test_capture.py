"""What runs log stands in their consoles, and the application's logging is as without it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.processes import Spawn

LOGGING = """
import logging
from flask import Flask
from flask.logging import has_level_handler
from flask_recurring import Scheduler
from tests.waiting import wait_for

scheduler = Scheduler()

@scheduler.task("work")
def work():
    logging.getLogger("lib").info("in a run: info")
    logging.getLogger("lib").warning("in a run: warning")
    app.logger.info("in a run: the application's")

app = Flask("shop")
app.debug = True
app.config.from_prefixed_env()
scheduler.init_app(app)
server = scheduler.binding.start_server()
wait_for(server.ready.is_set)
job = work.enqueue()
wait_for(lambda: scheduler.get_job(job.id).state == "Succeeded")
logging.getLogger("lib").info("outside: info")
logging.getLogger("lib").warning("outside: warning")
app.logger.info("outside: the application's")
print("werkzeug adds its own:", not has_level_handler(logging.getLogger("werkzeug")))
store = scheduler.binding.store
print("console:", [line.text for line in store.console.lines(job.id, 1)])
"""


def lines_printed_by(script: str, spawn: Spawn, url: str, tmp_path: Path) -> list[str]:
    """What the script prints, in a process of its own: logging is set up once in a process."""
    file = tmp_path / "script.py"
    file.write_text(script)
    process = spawn(
        [sys.executable, file],
        env={
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "FLASK_RECURRING_DATABASE_URL": url,
        },
    )
    assert process.wait() == 0, process.output()
    lines = process.output().splitlines()
    # That a server has started is told where no logging is set up, too.
    return [line for line in lines if " runs the jobs of " not in line]


def test_logging_of_an_application_that_set_up_none_stays_as_it_was(
    spawn: Spawn, sqlite_url: str, tmp_path: Path
) -> None:
    lines = lines_printed_by(LOGGING, spawn, sqlite_url, tmp_path)

    stamped = [line for line in lines if line.startswith("[")]
    assert [line.split("in script: ")[1] for line in stamped] == [
        "in a run: the application's",
        "outside: the application's",
    ]
    assert [line for line in lines if line not in stamped] == [
        "in a run: warning",
        "outside: warning",
        "werkzeug adds its own: True",
        "console: ['in a run: info', 'in a run: warning', \"in a run: the application's\"]",
    ]


SET_UP_LATER = """
import logging
import logging.config
from flask import Flask
from flask_recurring import Scheduler
from tests.waiting import wait_for

scheduler = Scheduler()
loud = logging.getLogger("loud")
loud.setLevel(logging.DEBUG)
kept = logging.getLogger("kept")
kept.propagate = False
kept.addHandler(logging.NullHandler())

@scheduler.task("work")
def work(mark: str):
    logging.getLogger("lib").debug("%s: lib debug", mark)
    logging.getLogger("lib").info("%s: lib info", mark)
    logging.getLogger("lib").warning("%s: lib warning", mark)
    loud.debug("%s: loud debug", mark)
    kept.warning("%s: kept apart", mark)

app = Flask("shop")
app.config.from_prefixed_env()
scheduler.init_app(app)
server = scheduler.binding.start_server()
wait_for(server.ready.is_set)
store = scheduler.binding.store

def run(mark):
    job = work.enqueue(mark)
    wait_for(lambda: scheduler.get_job(job.id).state == "Succeeded")
    print(mark, [line.text.split(": ")[1] for line in store.console.lines(job.id, 1)], flush=True)

run("plain")
logging.basicConfig(format="basic %(message)s")
run("basic")
logging.getLogger("lib").info("outside: info")
logging.basicConfig(format="info %(message)s", level=logging.INFO, force=True)
run("info")
logging.getLogger("lib").info("outside: info again")
logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"short": {"format": "dict %(message)s"}},
    "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "short"}},
    "root": {"handlers": ["err"], "level": "WARNING"},
})
run("dict")
handle = logging.Logger.callHandlers

def watched(self, record):
    print("watched", record.getMessage(), flush=True)
    handle(self, record)

logging.Logger.callHandlers = watched
run("watched")
scheduler.binding.stop_server()
"""


def test_logging_may_be_set_up_after_the_server_has_started(
    spawn: Spawn, sqlite_url: str, tmp_path: Path
) -> None:
    lines = lines_printed_by(SET_UP_LATER, spawn, sqlite_url, tmp_path)

    assert lines == [
        # Python's last resort, since nobody has set anything up.
        "plain: lib warning",
        "plain ['lib info', 'lib warning', 'loud debug']",
        "basic basic: lib warning",
        "basic basic: loud debug",
        "basic ['lib info', 'lib warning', 'loud debug']",
        "info info: lib info",
        "info info: lib warning",
        "info info: loud debug",
        "info ['lib info', 'lib warning', 'loud debug']",
        "info outside: info again",
        "dict dict: lib warning",
        "dict dict: loud debug",
        "dict ['lib warning', 'loud debug']",
        "watched watched: lib warning",
        "dict watched: lib warning",
        "watched watched: loud debug",
        "dict watched: loud debug",
        "watched watched: kept apart",
        "watched ['lib warning', 'loud debug']",
    ]
