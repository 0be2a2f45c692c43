"""The browser that the dashboard's tests drive, and its watch over what goes wrong in a page."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from playwright.sync_api import Page
from werkzeug.serving import make_server

from tests.browser import BrowserUnavailable, PageWatch, find_chromium

POLICY = "default-src 'none'; script-src 'self'; img-src 'self' data:"
ICON = '<link rel="icon" href="data:,">'
PAGES = {
    "/good": f"<!doctype html><title>Good</title>{ICON}<p>fine",
    "/inline": f"<!doctype html><title>Inline</title>{ICON}<script>document.title = 'ran'</script>",
    "/missing": f'<!doctype html><title>Missing</title>{ICON}<script src="/nowhere.js"></script>',
    "/throws": f'<!doctype html><title>Throws</title>{ICON}<script src="/throws.js"></script>',
    "/throws.js": "throw new Error('out of luck')",
}


def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    path = environ["PATH_INFO"]
    kind = "text/javascript" if path.endswith(".js") else "text/html; charset=utf-8"
    status = "200 OK" if path in PAGES else "404 Not Found"
    start_response(status, [("Content-Type", kind), ("Content-Security-Policy", POLICY)])
    return [PAGES.get(path, "").encode()]


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_other_tests_can_run_an_event_loop() -> None:
    async def answer() -> int:
        return 42

    assert asyncio.run(answer()) == 42


def test_tells_where_it_looked_for_chromium(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECURRING_TEST_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BrowserUnavailable, match="looked for chromium, chromium-browser"):
        find_chromium()

    monkeypatch.setenv("RECURRING_TEST_CHROMIUM", "/nowhere/chromium")
    with pytest.raises(BrowserUnavailable, match="RECURRING_TEST_CHROMIUM names '/nowhere"):
        find_chromium()


@pytest.mark.browser
def test_good_page_has_no_problems(page: Page, page_watch: PageWatch, site: str) -> None:
    page.goto(f"{site}/good")

    assert page.title() == "Good"
    assert page_watch.problems == []


@pytest.mark.browser
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/inline", "Content-Security-Policy: script-src-elem forbids inline"),
        ("/missing", "response: 404 for GET .*/nowhere.js"),
        ("/throws", "exception: .*out of luck"),
    ],
)
def test_problems_are_seen(
    page: Page, page_watch: PageWatch, site: str, path: str, problem: str
) -> None:
    page_watch.expect(problem)
    # Chromium's own words for a breach, beside the event that the watch reports.
    page_watch.expect("violates the following Content Security Policy")

    page.goto(site + path)

    # Not `wait_for`, which would keep Playwright from taking in what the browser tells it.
    for _ in range(500):
        if page_watch.problems:
            break
        page.wait_for_timeout(20)
    assert any(re.search(problem, found) for found in page_watch.problems)
    assert page_watch.unexpected == []


@pytest.mark.browser
def test_other_hosts_cannot_be_reached(page: Page, page_watch: PageWatch, site: str) -> None:
    page_watch.expect("ERR_|Content.Security.Policy|Failed to fetch")
    page.goto(f"{site}/good")

    reached = page.evaluate(
        "fetch('https://cdn.example.com/x.js', {mode: 'no-cors'}).then(() => true, () => false)"
    )

    assert reached is False
