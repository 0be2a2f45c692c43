"""Fixtures of the chaos tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.chaos.fleet import Client, Fleet
from tests.chaos.size import FULL


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.chaos)


class MakeFleet(Protocol):
    """Makes a fleet with its client, as the fixture ``chaos`` does."""

    def __call__(self, url: str, **settings: Any) -> tuple[Fleet, Client]: ...


@pytest.fixture(params=["sqlite", "postgresql"] if FULL else ["postgresql"])
def some_url(request: pytest.FixtureRequest) -> str:
    """Like ``database_url``; but only where there is time, the test runs for each kind."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url


@pytest.fixture
def chaos(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeFleet]:
    """``chaos(url, **settings)`` gives a fleet without servers yet, and the client beside it."""
    # Asked for first, so that servers are gone before their database goes.
    for name in ("database_url", "some_url", "postgres_url", "private_postgres"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    with ExitStack() as stack:

        def make(url: str, **settings: Any) -> tuple[Fleet, Client]:
            fleet = stack.enter_context(Fleet(url, tmp_path, **settings))
            client = stack.enter_context(Client(tmp_path, url))
            return fleet, client

        yield make


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    """``measured(what, seconds)`` keeps a figure in the test's report (``--junitxml``)."""

    def note(what: str, seconds: float) -> None:
        record_property(what, round(seconds, 3))
        print(f"{what}: {seconds:.2f} s")

    return note
