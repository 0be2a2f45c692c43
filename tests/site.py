"""A shop that is really served, to be looked at with a browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask
from playwright.sync_api import Page, Response, Route
from werkzeug.serving import ThreadedWSGIServer

from tests.dashboard import Shop, open_shop
from tests.waiting import wait_for

POLL = 0.3


class Site:
    """A shop that is really served, with what its page asked for."""

    def __init__(self, shop: Shop, url: str) -> None:
        self.shop = shop
        self.url = url
        self.seen: list[tuple[str, str, int]] = []

    def watch(self, page: Page) -> None:
        """Note from now on what the page is answered."""
        page.on("response", self._note)

    def wait_for(self, page: Page, condition: Callable[[], bool]) -> None:
        """Wait for what was noted to become so; only a page that is waited on tells its events."""

        def asked() -> bool:
            page.wait_for_timeout(20)
            return condition()

        wait_for(asked, message=lambda: f"the page was answered {self.seen}")

    def _note(self, response: Response) -> None:
        path = response.url.removeprefix(self.url)
        self.seen.append((response.request.method, path, response.status))

    def statuses(self, path: str) -> list[int]:
        return [status for method, seen, status in self.seen if (method, seen) == ("GET", path)]


class served:
    """Serve an application in a thread, for the length of a block."""

    def __init__(self, app: Flask) -> None:
        self._server = ThreadedWSGIServer("127.0.0.1", 0, app)
        # Its end waits for requests under way, which hold connections to the database.
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.port}"

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def open_site(database_url: str) -> Iterator[Site]:
    """A site whose pages ask for news often."""
    with (
        open_shop(database_url, RECURRING_DASHBOARD_POLL_INTERVAL=POLL) as shop,
        served(shop.app) as url,
    ):
        yield Site(shop, url)


def hold_first(page: Page, address: str) -> list[Route]:
    """Hold back the first request that htmx makes to this address; the list has it from then on."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        if "hx-request" in route.request.headers and not held:
            held.append(route)
        else:
            route.continue_()

    page.route(address, hold)
    return held


def check_width(page: Page) -> None:
    """The page does not scroll sideways."""
    wide, seen = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= seen, f"{page.url} scrolls sideways: {wide} > {seen}"
