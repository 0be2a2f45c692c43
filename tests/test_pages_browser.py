"""Every page in a real browser: it fits its window, keeps its policy, and shuts nobody out."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from flask_recurring import JobState
from tests.browser import PageWatch, barriers
from tests.dashboard import Shop, open_shop
from tests.site import check_width, served

pytestmark = pytest.mark.browser

LONG = "x" * 200
HOSTILE = "../a b/<script>alert('ä')</script>?x=1&y=2#z"
TRACEBACK = 'Traceback:\n  File "/srv/app/mail.py", line 4, in mail\n' + "    a long line" * 20


def fill(shop: Shop) -> list[int]:
    """Something of everything; returns jobs to look at."""
    for id in (LONG, HOSTILE):
        shop.recurring(id)
    shop.scheduler.binding.define()
    for number in range(40):
        shop.run("nightly", number, ago=9000 - number * 60)
    shop.tick("nightly", "skipped", ago=3000, reason="the run before was still going")
    shop.tick("nightly", "missed", ago=2000, reason="no server was running " * 5)
    with shop.app.app_context():
        shop.scheduler.override(
            "nightly", cron="0,15,30,45 1-5 * * MON-FRI", jitter=300, overlap="queue"
        )
    server = shop.server(threads=1)
    failed = shop.job(JobState.FAILED, ago=60, error="x" * 300, task="a_long_name." * 9, claim=3)
    for claim in (1, 2, 3):
        shop.attempt(failed, claim=claim, attempt=claim, traceback=TRACEBACK)
        shop.line(failed, 1, "began", claim=claim)
    running = shop.job(JobState.PROCESSING, args=["a@b.c", LONG], server_id=server)
    shop.job(JobState.PROCESSING, recurring_id="nightly", server_id=server)
    shop.line(running, 1, "Job started, see https://example.org/", level="warning")
    shop.line(running, 2, "pages", progress=42.5)
    succeeded = shop.job(JobState.SUCCEEDED, result=json.dumps({"sent": list(range(90))}))
    enqueued = shop.job()
    for state in (JobState.SCHEDULED, JobState.AWAITING, JobState.DELETED):
        shop.job(state)
    shop.scheduler.pause_queue("mail")
    shop.changed()
    return [failed, running, succeeded, enqueued]


def paths(jobs: list[int]) -> list[str]:
    edit = "recurring/edit?id="
    return [
        "",
        "recurring",
        "recurring?q=nothing-has-it",
        f"recurring/details?id={LONG}",
        "recurring/details?id=nightly",
        f"{edit}nightly",
        f"{edit}{LONG}",
        f"{edit}nightly&cron={'61x' * 40}&timezone={'M' * 80}&queue=%3Cb%3E",
        "jobs",
        *(f"jobs/{state.lower()}" for state in JobState),
        "jobs/failed?queue=nowhere",
        "jobs/enqueued?queue=mail",
        *(f"jobs/details/{job}" for job in jobs),
        "servers",
    ]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The addresses of all pages of a shop where much has happened."""
    path = tmp_path_factory.mktemp("full") / "jobs.sqlite3"
    with open_shop(f"sqlite:///{path}", RECURRING_DASHBOARD_POLL_INTERVAL=60) as shop:
        jobs = fill(shop)
        with served(shop.app) as url:
            yield [f"{url}/hangfire/{path}" for path in paths(jobs)]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The addresses of the pages of a shop where nothing has happened."""
    path = tmp_path_factory.mktemp("empty") / "jobs.sqlite3"
    with (
        open_shop(f"sqlite:///{path}", RECURRING_DASHBOARD_POLL_INTERVAL=60) as shop,
        served(shop.app) as url,
    ):
        yield [f"{url}/hangfire/{path}" for path in ("", "jobs", "servers")]


# A scheme changes colours, a width places and sizes: axe-core, which takes most of the time, looks
# at a narrow page in one scheme and at a wide one in the other.
@pytest.mark.parametrize(
    ("widths", "scheme"), [((390, 360), "light"), ((1024, 1440), "dark")], ids=["narrow", "wide"]
)
def test_every_page_fits_and_shuts_nobody_out(
    full: list[str], empty: list[str], page: Page, widths: tuple[int, int], scheme: str
) -> None:
    page.on("dialog", lambda dialog: pytest.fail(f"a page opened a dialog: {dialog.message}"))
    # What fades in or pulses has other colours meanwhile.
    page.emulate_media(
        color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
    )
    found = {}
    for address in (*full, *empty):
        page.goto(address)
        expect(page.locator("#theme")).to_be_visible()
        for width in widths:
            page.set_viewport_size({"width": width, "height": 800})
            check_width(page)
        if wrong := barriers(page):
            found[address] = wrong
    assert found == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_refusal_shuts_out_only_who_is_refused(
    sqlite_url: str, page: Page, page_watch: PageWatch, scheme: str
) -> None:
    page_watch.expect("response: 401")
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    closed = open_shop(sqlite_url, RECURRING_DASHBOARD_AUTHORIZATION=[])
    with closed as shop, served(shop.app) as url:
        page.goto(f"{url}/hangfire/")
        expect(page.locator("h1")).to_have_text("Sign in first")
        assert barriers(page) == []


def test_seven_tiles_leave_no_hole(full: list[str], page: Page) -> None:
    for width in (390, 800, 1024, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(full[0])
        holes = page.evaluate(
            """() => {
              const all = document.querySelector(".tiles").getBoundingClientRect();
              const area = (box) => box.width * box.height;
              const tiles = [...document.querySelectorAll(".tiles li")];
              const filled = tiles.reduce((sum, li) => sum + area(li.getBoundingClientRect()), 0);
              return 1 - filled / area(all);
            }"""
        )
        assert holes < 0.05, f"{holes:.0%} of the tiles' place is empty at {width}"
