"""The dashboard as a person sees it: in a real Chromium, with a watch over what goes wrong."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.resources import files

from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Response, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # Everything a page needs comes from the application: no other host can even be looked up.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)

# Chromium prints a breach of the Content-Security-Policy in words that change from version to
# version; the event does not.
REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => console.error(
  `Content-Security-Policy: ${event.effectiveDirective} forbids ${event.blockedURI}` +
  ` (${event.sourceFile}:${event.lineNumber})`));
"""


AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class BrowserUnavailable(RuntimeError):
    """This machine has no Chromium to drive; the message tells where it was looked for."""


def find_chromium() -> str:
    """The path of Debian's chromium or a relative of it.

    ``RECURRING_TEST_CHROMIUM`` names another one.

    :raises BrowserUnavailable: there is none.
    """
    named = os.environ.get("RECURRING_TEST_CHROMIUM")
    if named:
        found = shutil.which(named)
        if found is None:
            raise BrowserUnavailable(
                f"RECURRING_TEST_CHROMIUM names {named!r}, which is no executable file"
            )
        return found
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    raise BrowserUnavailable(
        f"no Chromium on PATH (looked for {', '.join(NAMES)}); install Debian's `chromium` or set "
        "RECURRING_TEST_CHROMIUM to its path"
    )


@contextmanager
def chromium_running() -> Iterator[Browser]:
    """Start Chromium and end it afterwards.

    :raises BrowserUnavailable: there is none.
    """
    path = find_chromium()
    with ExitStack() as stack:
        try:
            playwright = stack.enter_context(sync_playwright())
        except Exception as error:  # Playwright has no narrower one for this.
            raise BrowserUnavailable(
                f"Playwright's driver does not run ({error}); on Debian it needs `libatomic1`"
            ) from error
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        stack.callback(browser.close)
        yield browser


@cache
def _axe() -> str:
    """axe-core's own script, which this package carries."""
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def barriers(page: Page) -> list[str]:
    """What axe-core finds wrong with a page for those who don't see it, or not well, or don't use a
    mouse: the rule that is broken and where."""
    page.evaluate(_axe())
    found = page.evaluate(
        "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", AXE_RULES
    )
    return [
        f"{violation['id']}: {node['target']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


class PageWatch:
    """Collects what a person would see in red in the console of a page.

    That is errors on the console (a resource that could not be loaded, too), exceptions that no
    script caught, and breaches of the Content-Security-Policy. A test that provokes one says so
    with `expect`.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        page.add_init_script(REPORT_VIOLATIONS)
        page.on("console", self._note_console)
        page.on("pageerror", self._note_exception)
        page.on("response", self._note_response)

    def expect(self, pattern: str) -> None:
        """Don't count problems in which this regular expression is found."""
        self._expected.append(re.compile(pattern))

    @property
    def unexpected(self) -> list[str]:
        """The problems that no `expect` covers, in the order they came."""
        return [
            problem
            for problem in self.problems
            if not any(pattern.search(problem) for pattern in self._expected)
        ]

    def _note_console(self, message: ConsoleMessage) -> None:
        # A failed response is noted by `_note_response`, which also knows the method.
        if message.type == "error" and "the server responded with a status of" not in message.text:
            place = message.location
            self.problems.append(
                f"console: {message.text} ({place.get('url')}:{place.get('lineNumber')})"
            )

    def _note_exception(self, error: Error) -> None:
        self.problems.append(f"exception: {error}")

    def _note_response(self, response: Response) -> None:
        if response.status >= 400:
            request = response.request
            self.problems.append(f"response: {response.status} for {request.method} {request.url}")
