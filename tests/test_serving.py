"""Where the server runs: in every process that serves the application, once, and nowhere else.

All ways of serving are started at once and looked at one after the other, since starting is what
takes long.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import make_server

from flask_recurring import Job, JobState, Scheduler
from flask_recurring._flask.serving import Serving
from tests.applications import (
    Applications,
    binding_of,
    job_of,
    servers_ever,
    store_of,
    wait_for_job,
)
from tests.apps import served
from tests.apps.bound import BOUND
from tests.processes import Process, Spawn, free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "apps" / "script.py"
APP = "tests.apps.served:create_app()"
FLASK = (sys.executable, "-m", "flask", "--app", "tests.apps.served")
RUN = (*FLASK, "run", "--port", "{port}")
GEVENT_FIRST = str(ROOT / "tests" / "apps" / "gevent_first.py")
GUNICORN = (sys.executable, "-m", "gunicorn", APP, "--bind", "127.0.0.1:{port}")


def uwsgi(*options: str) -> tuple[str, ...]:
    program = str(Path(sys.executable).with_name("uwsgi"))
    served = ("--http-socket", "127.0.0.1:{port}", "--module", APP, "--need-app", "--die-on-term")
    return (program, *served, "--enable-threads", *options)


def script(how: str) -> tuple[str, ...]:
    return (sys.executable, str(SCRIPT), how, "{port}")


def gunicorn(*options: str) -> tuple[str, ...]:
    return (*GUNICORN, "--workers", "2", *options)


@dataclass(frozen=True)
class Way:
    """One way of serving."""

    command: tuple[str, ...]
    servers: int = 1
    child: bool = False
    """Whether children of the process serve, and not itself."""
    end: signal.Signals = signal.SIGTERM
    codes: frozenset[int] = frozenset({0})
    """With which exit codes it may end when it is told to."""
    group: bool = False
    """Whether the signal goes to the children too, as the keyboard's does."""
    asked: bool = False
    """Whether only the first request shows that it serves."""
    serves: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)


TERMINATED = frozenset({128 + signal.SIGTERM})
INTERRUPTED = frozenset({0, 1, 128 + signal.SIGINT, -signal.SIGINT})

WAYS = {
    "flask run": Way(RUN, codes=TERMINATED),
    "flask run --debug": Way(
        (*FLASK, "--debug", *RUN[len(FLASK) :]),
        child=True,
        end=signal.SIGINT,
        codes=INTERRUPTED,
        group=True,
    ),
    "flask run --no-reload": Way(
        (*FLASK, "--debug", *RUN[len(FLASK) :], "--no-reload"),
        end=signal.SIGINT,
        codes=INTERRUPTED,
    ),
    "app.run": Way(script("run"), end=signal.SIGINT, codes=INTERRUPTED),
    "app.run in debug mode": Way(
        script("debug"), child=True, end=signal.SIGINT, codes=INTERRUPTED, group=True
    ),
    "gunicorn": Way(gunicorn(), servers=2, child=True),
    "gunicorn --preload": Way(gunicorn("--preload"), servers=2, child=True, end=signal.SIGINT),
    "gunicorn gthread": Way(gunicorn("--threads", "2"), servers=2, child=True, end=signal.SIGQUIT),
    "gunicorn gthread --preload": Way(
        gunicorn("--threads", "2", "--preload"), servers=2, child=True
    ),
    "gunicorn gevent": Way(gunicorn("--worker-class", "gevent"), servers=2, child=True),
    "gunicorn gevent --preload": Way(
        gunicorn("--worker-class", "gevent", "--preload", "--config", GEVENT_FIRST),
        servers=2,
        child=True,
    ),
    "uWSGI": Way(uwsgi("--master", "--processes", "2"), servers=2, child=True),
    "uWSGI without a master": Way(uwsgi(), codes=frozenset({30})),
    "granian": Way(
        (
            *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"),
            *("--port", "{port}", "--factory", APP.removesuffix("()")),
        ),
        child=True,
    ),
    "hypercorn": Way(
        (sys.executable, "-m", "hypercorn", f"wsgi:{APP}", "--bind", "127.0.0.1:{port}"),
        child=True,
    ),
    "uvicorn": Way(
        (sys.executable, "-m", "uvicorn", "tests.apps.asgi:app", "--port", "{port}"),
        # It ends itself by the signal, or by the handler that it found when it began.
        codes=TERMINATED | {-signal.SIGTERM},
    ),
    "uvicorn --workers": Way(
        (
            *(sys.executable, "-m", "uvicorn", "tests.apps.asgi:app", "--port", "{port}"),
            *("--workers", "2"),
        ),
        servers=2,
        child=True,
    ),
    "waitress-serve": Way(
        (
            *(sys.executable, "-m", "waitress", "--listen", "127.0.0.1:{port}"),
            *("--call", "tests.apps.served:create_app"),
        )
    ),
    "waitress.serve": Way(script("waitress"), end=signal.SIGINT),
    "a command of the application's own": Way((*FLASK, "serve", "{port}")),
    "an unknown WSGI server": Way(script("wsgiref"), asked=True, codes=TERMINATED),
    "an unknown WSGI server that tells": Way(script("told"), codes=TERMINATED),
    "uvicorn in a loop of the application's own": Way(
        script("uvicorn"), asked=True, codes=TERMINATED
    ),
    "flask recurring worker": Way((*FLASK, "recurring", "worker"), serves=False),
    "flask recurring worker, interrupted": Way(
        (*FLASK, "recurring", "worker"),
        serves=False,
        end=signal.SIGINT,
        # What it says is for those that serve.
        settings={"worker_enabled": "false"},
    ),
}


@dataclass
class Service:
    """One of these ways, under way."""

    way: Way
    process: Process
    port: int
    app: Flask
    """An application on the same database, without a server, to look through."""
    jobs: dict[str, Job] = field(default_factory=dict)
    requested: bool = False

    @property
    def live(self) -> list[int]:
        """Ids of the processes whose servers have signed on."""
        return sorted(server.pid for server in store_of(self.app).servers.live())

    def enqueue(self, task: str, *arguments: object) -> Job:
        with self.app.app_context():
            return served.scheduler.enqueue(task, *arguments)

    def get(self) -> str:
        url = f"http://127.0.0.1:{self.port}/"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def wait_for_servers(self) -> None:
        if self.way.serves:
            self.process.wait_for_port(self.port, timeout=60)
        if self.way.asked and not self.requested:
            assert self.live == []
            self.get()
            self.requested = True
        wait_for(
            lambda: len(self.live) == self.way.servers,
            timeout=60,
            message=lambda: f"servers {self.live}; output:\n{self.process.output()}",
        )


def environment(url: str, **settings: str) -> dict[str, str]:
    return {
        "PYTHONPATH": str(ROOT),
        "FLASK_RECURRING_DATABASE_URL": url,
        **{f"FLASK_RECURRING_{name.upper()}": value for name, value in settings.items()},
    }


def start(
    stack: ExitStack, apps: Applications, folder: Path, name: str, way: Way, **settings: str
) -> Service:
    """Start a process on a SQLite database of its own."""
    place = folder / f"{len(list(folder.iterdir()))}"
    place.mkdir()
    port = free_port()
    url = f"sqlite:///{place / 'recurring.sqlite3'}"
    command = [*BOUND, *(part.format(port=port) for part in way.command)]
    if "gunicorn" in command:
        command.append("--no-control-socket")
    process = stack.enter_context(
        Process(
            command, log=place / "log", env=environment(url, **settings, **way.settings), cwd=ROOT
        )
    )
    return Service(way, process, port, apps.make(served.scheduler, url, name=name))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Service]]:
    """All ways of serving, each running."""
    folder = tmp_path_factory.mktemp("serving")
    with ExitStack() as stack, Applications(folder) as apps:
        yield {
            name: start(stack, apps, folder, name, way, shutdown_timeout="2", workers="4")
            for name, way in WAYS.items()
        }


@pytest.fixture(scope="module")
def stopped(services: Mapping[str, Service]) -> Mapping[str, Service]:
    """All of them, after they were told to stop while they ran a short job and a long one."""
    for service in services.values():
        service.wait_for_servers()
        service.jobs = {
            "short": service.enqueue("patient", 1),
            "outside": service.enqueue("outside", 1),
            "long": service.enqueue("patient", 60),
        }
    for service in services.values():
        for job in service.jobs.values():
            wait_for(lambda service=service, job=job: job_of(service.app, job).attempt == 1)  # type: ignore[misc]
        if service.way.group:
            os.killpg(service.process.pid, service.way.end)
        else:
            service.process.send(service.way.end)
    return services


# -- that it runs


@pytest.mark.parametrize("name", WAYS)
def test_server_starts_once_in_each_process_that_serves(
    services: Mapping[str, Service], name: str
) -> None:
    service = services[name]
    service.wait_for_servers()

    job = wait_for_job(service.app, service.enqueue("quick"))

    assert job.result in service.live
    assert len(set(service.live)) == service.way.servers
    assert servers_ever(service.app) == service.way.servers, "and no more came meanwhile"
    parents = {parent_of(pid) for pid in service.live}
    if service.way.child:
        assert parents == {service.process.pid}, "not in the parent"
    else:
        assert service.live == [service.process.pid]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("name", [name for name, way in WAYS.items() if way.serves])
def test_pages_are_served_beside_the_jobs(services: Mapping[str, Service], name: str) -> None:
    service = services[name]
    service.wait_for_servers()

    assert service.get().startswith("served by ")

    if name.startswith(("flask run", "app.run")):
        service.process.wait_for_line(r'"GET / HTTP/1\.1" 200')


@pytest.mark.parametrize("name", ["flask run", "gunicorn", "gunicorn --preload", "waitress.serve"])
def test_forked_child_of_a_serving_process_has_no_server(
    services: Mapping[str, Service], name: str
) -> None:
    service = services[name]
    service.wait_for_servers()
    before = servers_ever(service.app)

    job = wait_for_job(service.app, service.enqueue("fork"))

    assert job.state is JobState.SUCCEEDED, job.error
    none, threads, code = job.result
    assert none is True
    assert [name for name in threads if "watch" in name] == []
    if "gunicorn" not in name:  # which has a handler of its own
        assert code == -signal.SIGTERM, "it ends like any other child"
    assert servers_ever(service.app) == before


@pytest.mark.parametrize("name", ["flask run", "gunicorn", "uvicorn", "flask recurring worker"])
def test_start_is_told_where_no_logging_is_set_up(
    services: Mapping[str, Service], name: str
) -> None:
    service = services[name]
    service.wait_for_servers()

    told = "Server .* runs the jobs of tests.apps.served, with 4 threads."
    line = f"^{told} Dashboard: /hangfire$" if service.way.serves else f"^{told}$"
    service.process.wait_for_line(line)

    assert len(re.findall(line, service.process.output(), re.MULTILINE)) == service.way.servers


def test_process_that_listens_and_was_not_recognised_says_so(spawn: Spawn, sqlite_url: str) -> None:
    process = spawn(
        [*BOUND, *(part.format(port=free_port()) for part in script("unnoticed"))],
        env=environment(sqlite_url),
    )

    process.wait_for_line("accepts connections, but by no web server that is known .* scheduler.st")


def test_gevent_that_patches_too_late_is_told_of(spawn: Spawn, sqlite_url: str) -> None:
    command = gunicorn("--worker-class", "gevent", "--preload", "--no-control-socket")
    process = spawn(
        [*BOUND, *(part.format(port=free_port()) for part in command)],
        env=environment(sqlite_url),
        cwd=ROOT,
    )

    process.wait_for_line("gevent has patched this process after .* Let it patch first")


# -- that it stops


@pytest.mark.parametrize("name", [name for name, way in WAYS.items() if not way.group])
def test_process_that_is_told_to_stop_ends_in_order(
    stopped: Mapping[str, Service], name: str
) -> None:
    service = stopped[name]

    code = service.process.wait(timeout=20)

    assert code in service.way.codes, service.process.output()
    assert "Traceback" not in service.process.output()
    assert service.live == []
    for kind in ("short", "outside"):
        job = job_of(service.app, service.jobs[kind])
        assert (job.state, job.result) == (JobState.SUCCEEDED, "done"), job
    long = job_of(service.app, service.jobs["long"])
    assert (long.state, long.attempt) == (JobState.ENQUEUED, 0)
    assert [one.outcome for one in store_of(service.app).jobs.attempts(long.id)] == ["HandedBack"]


@pytest.mark.parametrize("name", [name for name, way in WAYS.items() if way.group])
def test_reloader_gives_its_child_a_moment_to_hand_back(
    stopped: Mapping[str, Service], name: str
) -> None:
    service = stopped[name]

    service.process.wait(timeout=20)

    # Killed after a quarter of a second: on a busy machine that may be before it is through. What
    # it held then runs elsewhere once its silence is noticed.
    jobs = [job_of(service.app, job) for job in service.jobs.values()]
    assert {job.state for job in jobs} <= {
        JobState.SUCCEEDED,
        JobState.ENQUEUED,
        JobState.PROCESSING,
    }
    if any(job.state is JobState.PROCESSING for job in jobs):
        assert service.live


PATIENT = ("flask run", "waitress.serve", "flask recurring worker")


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Service]]:
    """Ways of serving that were told to stop while they ran a job and had all the time for it."""
    folder = tmp_path_factory.mktemp("hurried")
    with ExitStack() as stack, Applications(folder) as apps:
        services = {
            name: start(stack, apps, folder, name, WAYS[name], shutdown_timeout="60")
            for name in PATIENT
        }
        for service in services.values():
            service.wait_for_servers()
            service.jobs["running"] = service.enqueue("patient", 60)
            wait_for_job(service.app, service.jobs["running"], JobState.PROCESSING)
        for service in services.values():
            service.process.send(signal.SIGTERM)
        yield services


@pytest.mark.parametrize("name", PATIENT)
def test_second_signal_hurries(hurried: Mapping[str, Service], name: str) -> None:
    service = hurried[name]
    # A job that is not taken shows that the stop has begun.
    waiting = wait_for(lambda: _not_taken(service), timeout=20)
    assert waiting is not None
    assert service.process.exit_code is None

    service.process.send(signal.SIGTERM)

    service.process.wait(timeout=10)
    assert service.live == []
    assert job_of(service.app, service.jobs["running"]).state is JobState.ENQUEUED
    assert job_of(service.app, waiting).state is JobState.ENQUEUED


def _not_taken(service: Service) -> Job | None:
    job = service.enqueue("quick")
    try:
        wait_for(lambda: job_of(service.app, job).state.finished, timeout=2.0)
    except AssertionError:
        return job
    return None


def test_worker_hears_a_signal_that_interrupts_no_wait(tmp_path: Path) -> None:
    """Such as one that comes just before its main thread begins to wait."""
    name = "flask recurring worker"
    with ExitStack() as stack, Applications(tmp_path) as apps:
        service = start(stack, apps, tmp_path, name, WAYS[name])
        service.wait_for_servers()

        job = service.enqueue("end it")

        assert service.process.wait(timeout=20) == 0
        assert job_of(service.app, job).state is JobState.SUCCEEDED


# -- that it runs nowhere else

CODE = "from tests.apps import served; app = served.create_app(); served.probe()"
IN_SHELL = "from tests.apps import served; served.probe()\n"

QUIETLY: dict[str, tuple[Sequence[str], str]] = {
    "flask shell": ((*FLASK, "shell"), IN_SHELL),
    "a command": ((*FLASK, "peaceful"), ""),
    "flask routes": ((*FLASK, "routes"), ""),
    "flask recurring list": ((*FLASK, "recurring", "list"), ""),
    "flask recurring init-db": ((*FLASK, "recurring", "init-db"), ""),
    "a script": ((sys.executable, str(SCRIPT), "nothing", "0"), ""),
    "a test client": ((sys.executable, str(SCRIPT), "client", "0"), ""),
    "python -c": ((sys.executable, "-c", CODE), ""),
    "gunicorn --check-config": ((*GUNICORN[:4], "--preload", "--check-config"), ""),
}


@pytest.fixture(scope="module")
def quiet(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, tuple[str, int, Flask]]]:
    """Output, exit code and database of processes that don't serve."""
    folder = tmp_path_factory.mktemp("quiet")
    running = {}
    with Applications(folder) as apps:
        for number, (name, (command, text)) in enumerate(QUIETLY.items()):
            url = f"sqlite:///{folder}/{number}.sqlite3"
            process = subprocess.Popen(
                [*BOUND, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, **environment(url)},
                cwd=ROOT,
            )
            running[name] = (process, text, apps.make(served.scheduler, url, name=f"{number}"))
        yield {
            name: (process.communicate(text, timeout=120)[0], process.returncode, app)
            for name, (process, text, app) in running.items()
        }


@pytest.mark.parametrize("name", QUIETLY)
def test_server_does_not_start_in_what_does_not_serve(
    quiet: Mapping[str, tuple[str, int, Flask]], name: str
) -> None:
    output, code, app = quiet[name]

    assert code == 0, output
    assert "Traceback" not in output
    assert servers_ever(app) == 0
    jobs = store_of(app).jobs.page(None).items
    assert {job.state for job in jobs} <= {JobState.ENQUEUED}
    if jobs:
        assert "server: None, threads: []" in output or "['recurring-watch']" in output
    else:
        assert name in ("flask routes", "flask recurring list", "gunicorn --check-config") or (
            "Ready: SQLite" in output
        )


# -- in this process


class Live:
    """An application that a thread of this process serves, as live servers of test suites do."""

    def __init__(self, app: Flask) -> None:
        self.server = make_server("127.0.0.1", 0, app)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_application_that_a_thread_serves_has_a_server(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()
    app = apps.make(scheduler, sqlite_url, worker_enabled=True)

    with Live(app):
        wait_for(lambda: binding_of(app).server is not None)


def test_application_that_is_tested_has_none(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()
    tested = apps.make(
        scheduler, sqlite_url, name="tested", config={"TESTING": True}, worker_enabled=True
    )
    off = apps.make(scheduler, sqlite_url, name="off", worker_enabled=False)
    on = apps.make(scheduler, sqlite_url, name="on", worker_enabled=True)

    with Live(tested):
        wait_for(lambda: binding_of(on).server is not None)
        assert binding_of(tested).server is None
        assert binding_of(off).server is None


def test_request_of_a_test_client_starts_none(apps: Applications, sqlite_url: str) -> None:
    app = apps.make(Scheduler(), sqlite_url, worker_enabled=True)

    app.test_client().get("/")

    assert binding_of(app).server is None


def test_request_of_a_server_starts_one(apps: Applications, sqlite_url: str) -> None:
    app = apps.make(Scheduler(), sqlite_url, worker_enabled=True)

    app.test_client().get("/", environ_base={"SERVER_SOFTWARE": "someone/1.0"})

    assert binding_of(app).server is not None


def test_many_applications_are_watched_by_one_thread(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()
    for number in range(20):
        apps.make(scheduler, sqlite_url, name=f"number {number}", worker_enabled=True)

    watching = [thread for thread in threading.enumerate() if thread.name == "recurring-watch"]

    assert len(watching) == 1


def test_server_that_cant_start_is_told_and_the_pages_are_served(
    apps: Applications, caplog: pytest.LogCaptureFixture
) -> None:
    from flask_sqlalchemy import SQLAlchemy

    app = apps.make(
        Scheduler(),
        db=SQLAlchemy(),
        config={"SQLALCHEMY_DATABASE_URI": "sqlite://"},
        worker_enabled=True,
    )

    answer = app.test_client().get("/", environ_base={"SERVER_SOFTWARE": "someone/1.0"})

    assert answer.status_code == 404
    assert "The server can't start: an in-memory SQLite database" in caplog.text


def test_nobody_looks_whether_a_process_serves_whose_server_was_started_by_hand(
    apps: Applications,
) -> None:
    app = apps.make(Scheduler())
    serving = Serving(binding_of(app))
    assert serving.awaited
    apps.start(app)
    assert not serving.awaited


# -- when it is asked for


def test_server_is_started_and_stopped_by_name(apps: Applications, sqlite_url: str) -> None:
    scheduler = Scheduler()
    app = apps.make(scheduler, sqlite_url, worker_enabled=True)

    assert scheduler.start(app) is True
    server = binding_of(app).server
    assert scheduler.start() is True
    assert binding_of(app).server is server

    scheduler.stop()
    assert binding_of(app).server is None
    app.test_client().get("/", environ_base={"SERVER_SOFTWARE": "someone/1.0"})
    assert binding_of(app).server is None, "what was stopped by name is started by name"

    assert scheduler.start() is True
    assert binding_of(app).server not in (None, server)


def test_server_that_may_not_run_is_not_started_by_name(
    apps: Applications, sqlite_url: str
) -> None:
    scheduler = Scheduler()
    tested = apps.make(
        scheduler, sqlite_url, name="tested", config={"TESTING": True}, worker_enabled=True
    )
    off = apps.make(scheduler, sqlite_url, name="off", worker_enabled=False)

    assert scheduler.start(tested) is False
    assert scheduler.start(off) is False
    assert binding_of(tested).server is None
    assert binding_of(off).server is None


def test_start_is_logged_where_logging_is_set_up(
    apps: Applications,
    sqlite_url: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = apps.make(Scheduler(), sqlite_url, dashboard_url_prefix="/jobs", worker_enabled=True)

    with caplog.at_level("INFO"), Live(app):
        wait_for(lambda: " runs the jobs of shop, with 4 threads. Dashboard: /jobs" in caplog.text)

    assert capsys.readouterr().err == ""
