"""Live lists in a real browser: no row moves under the hand, a click acts on what was clicked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, expect

from flask_recurring import JobState
from tests.site import POLL, Site, hold_first, open_site

pytestmark = pytest.mark.browser

FAILED = "/hangfire/jobs/failed"


@pytest.fixture
def site(sqlite_url: str) -> Iterator[Site]:
    with open_site(sqlite_url) as opened:
        yield opened


@pytest.fixture
def jobs(site: Site) -> list[int]:
    """Failed jobs, in the order of the list."""
    return [site.shop.job(JobState.FAILED, ago=100 + n) for n in range(6)]


def top(row: Locator) -> float:
    box = row.bounding_box()
    assert box is not None
    return box["y"]


def news(page: Page) -> Locator:
    return page.locator("[data-renew]")


def state(site: Site, job_id: int) -> JobState:
    job = site.shop.store.jobs.get(job_id)
    assert job is not None
    return job.state


def test_under_the_mouse(site: Site, jobs: list[int], page: Page) -> None:
    page.goto(site.url + FAILED)
    row = page.locator(f"#job-{jobs[3]}")
    bin = row.get_by_role("button", name="Delete")
    bin.hover()
    before = top(row)
    late = [site.shop.job(JobState.FAILED, ago=n) for n in range(2)]
    site.shop.store.jobs.requeue(jobs[1])
    expect(news(page)).to_have_text("2 new, 1 gone")
    expect(page.locator("#count-failed")).to_have_text("7")
    assert top(row) == before
    asked: list[str] = []

    def agree(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.once("dialog", agree)
    page.mouse.down()
    page.wait_for_timeout(POLL * 2000)
    page.mouse.up()
    # Its own row is gone, too; but no other has come in its place, where a second click would go.
    expect(news(page)).to_have_text("2 new, 2 gone")
    assert asked == [f"Delete job #{jobs[3]}?"]
    assert top(row) == before
    assert [state(site, job) for job in jobs].count(JobState.DELETED) == 1
    assert state(site, jobs[3]) is JobState.DELETED
    news(page).click()
    expect(page.locator("#rows > tr").nth(0)).to_have_id(f"job-{late[0]}")
    expect(page.locator("#rows > tr")).to_have_count(6)
    expect(news(page)).to_be_hidden()
    page.mouse.move(640, 5)  # above the page's head
    site.shop.job(JobState.FAILED)
    expect(page.locator("#rows > tr")).to_have_count(7)


def test_under_the_keyboard(site: Site, jobs: list[int], page: Page) -> None:
    page.goto(site.url + FAILED)
    row = page.locator(f"#job-{jobs[0]}")
    page.locator("[data-select-all]").focus()
    page.keyboard.press("Tab")  # the first row's box
    page.keyboard.press("Tab")
    expect(row.locator(".cell-title")).to_be_focused()
    before = top(row)
    late = site.shop.job(JobState.FAILED)
    expect(news(page)).to_have_text("1 new")
    assert top(row) == before
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")  # out of the list
    expect(page.locator(f"#job-{late}")).to_be_visible()


def test_under_a_finger(site: Site, jobs: list[int], chromium: Browser) -> None:
    with chromium.new_context(has_touch=True, viewport={"width": 390, "height": 740}) as context:
        page = context.new_page()
        page.goto(site.url + FAILED)
        row = page.locator(f"#job-{jobs[2]}")
        before = top(row)
        row.tap(position={"x": 200, "y": 40})  # beside its links
        site.shop.job(JobState.FAILED)
        expect(news(page)).to_have_text("1 new")
        assert top(row) == before
        news(page).tap()
        expect(page.locator("#rows > tr")).to_have_count(7)


def test_what_is_selected_stays_in_its_place_and_selected(
    site: Site, jobs: list[int], page: Page
) -> None:
    page.goto(site.url + FAILED)
    boxes = page.locator("#rows input[name=job]")
    second = page.locator(f"#job-{jobs[1]}")
    before = top(second)
    boxes.nth(0).click()
    assert top(second) == before  # the bar that acts on them was there already
    boxes.nth(2).click(modifiers=["Shift"])
    expect(page.locator(".bulk-count")).to_contain_text("3 selected")
    page.mouse.move(640, 5)
    late = site.shop.job(JobState.FAILED)
    expect(news(page)).to_have_text("1 new")
    assert top(second) == before
    news(page).click()
    expect(page.locator(f"#job-{late}")).to_be_visible()
    expect(page.locator("#rows input[name=job]:checked")).to_have_count(3)
    page.locator("[data-bulk]").get_by_role("button", name="Requeue").click()
    expect(page.locator("[data-toast]")).to_have_text("3 jobs put back in the queue.")
    expect(page.locator("#rows > tr")).to_have_count(4)
    expect(page.locator("[data-bulk]")).to_be_hidden()
    # A row's own button acts on that row, whatever else is selected.
    boxes.nth(1).click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator(f"#job-{late}").get_by_role("button", name="Delete").click()
    expect(page.locator("[data-toast]")).to_have_count(2)
    assert state(site, late) is JobState.DELETED
    assert JobState.DELETED not in [state(site, job) for job in jobs]


def test_a_click_that_waits_for_an_answer_acts_on_its_own_row(site: Site, page: Page) -> None:
    """The answer moves the rows, since nothing holds them: a script clicks, without a hand."""
    for id in ("a", "b", "c"):
        site.shop.recurring(id)
    held = hold_first(page, "**/hangfire/recurring")
    page.add_init_script(
        """window.queued = [];
        document.addEventListener("htmx:trigger", (e) => window.queued.push(e.target.localName));"""
    )
    page.goto(f"{site.url}/hangfire/recurring")
    site.wait_for(page, lambda: bool(held))
    with site.shop.app.app_context():
        site.shop.scheduler.remove("a")
    row = page.locator("#rows > tr", has=page.get_by_role("link", name="b", exact=True))
    row.get_by_role("button", name="Pause").dispatch_event("click")
    site.wait_for(page, lambda: "button" in page.evaluate("window.queued"))
    held[0].continue_()
    expect(page.locator("[data-toast]")).to_contain_text("Paused b.")


def test_a_double_click_acts_once(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/hangfire/recurring")
    page.get_by_role("button", name="Trigger now").click()
    expect(page.locator("[data-toast]")).to_have_count(1)
    page.mouse.down(click_count=2)
    page.mouse.up(click_count=2)
    page.wait_for_timeout(POLL * 2000)
    expect(page.locator("[data-toast]")).to_have_count(1)
    assert len(site.shop.store.jobs.page(None).items) == 1
