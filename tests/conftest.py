"""The fixtures that all tests share.

A test that needs PostgreSQL or a browser is skipped where there is none, with the reason, and fails
there when ``RECURRING_TEST_REQUIRE=1`` is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.applications import Applications
from tests.browser import BrowserUnavailable, PageWatch, chromium_running
from tests.postgres import Cluster, Server, postgres_running
from tests.postgres_programs import PostgresUnavailable
from tests.processes import Process, Spawn
from tests.requirement import missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the browser's tests last: from its start to its end, Playwright keeps an event loop
    running in the main thread, where no other test could then run one of its own."""
    items.sort(key=lambda item: "chromium" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server that all tests share: make databases on it, don't stop it."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres_running())
        except PostgresUnavailable as error:
            missing(str(error))
        yield server


@pytest.fixture
def private_postgres() -> Iterator[Cluster]:
    """A PostgreSQL server of this test's own, to stop, crash and restart (takes about a second)."""
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(Cluster())
        except PostgresUnavailable as error:
            missing(str(error))
        yield cluster


@pytest.fixture
def postgres_url(postgres: Server) -> Iterator[str]:
    """SQLAlchemy's URL of a new, empty PostgreSQL database."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """SQLAlchemy's URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'recurring.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """SQLAlchemy's URL of a new, empty database; the test runs once for each kind of database."""
    # Asked for by name, so that the runs on SQLite start no PostgreSQL.
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url


@pytest.fixture
def apps(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Applications]:
    """``apps.make(scheduler, url, …)`` gives an application, ``apps.start(app)`` its server."""
    # Asked for first, so that servers are stopped before their database goes.
    for name in ("database_url", "postgres_url", "private_postgres"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    with Applications(tmp_path) as applications:
        yield applications


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Spawn]:
    """``spawn(command, env=…, cwd=…)`` starts a real process, which ends with the test."""
    with ExitStack() as stack:
        count = 0

        def start(
            command: Sequence[str | Path],
            *,
            env: Mapping[str, str | None] | None = None,
            cwd: Path | None = None,
        ) -> Process:
            nonlocal count
            count += 1
            process = Process(command, log=tmp_path / f"process-{count}.log", env=env, cwd=cwd)
            return stack.enter_context(process)

        yield start


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A running Chromium."""
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(chromium_running())
        except BrowserUnavailable as error:
            missing(str(error))
        yield browser


@pytest.fixture
def page_watch(chromium: Browser) -> Iterator[PageWatch]:
    """The watch over `page`: ``page_watch.expect(regex)`` forgives problems that the test wants."""
    with chromium.new_context(viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(10_000)
        watch = PageWatch(context.new_page())
        yield watch
    assert not watch.unexpected, "the page had problems:\n" + "\n".join(watch.unexpected)


@pytest.fixture
def page(page_watch: PageWatch) -> Page:
    """A page in a browser profile of its own. The test fails if the page has an error on its
    console, an uncaught exception, a failed request or a breach of its security policy."""
    return page_watch.page
