"""A recurring job's own page and its editor in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from flask_recurring import JobState
from tests.browser import PageWatch
from tests.site import Site, hold_first, open_site

pytestmark = pytest.mark.browser

DETAILS = "/hangfire/recurring/details?id=nightly"
EDIT = "/hangfire/recurring/edit?id=nightly"


@pytest.fixture
def site(sqlite_url: str) -> Iterator[Site]:
    with open_site(sqlite_url) as opened:
        opened.shop.scheduler.binding.define()
        yield opened


def fill(site: Site) -> int:
    """A past with something of everything, and values over the code's; returns the last job."""
    for number in range(40):
        site.shop.run("nightly", number, ago=9000 - number * 60)
    site.shop.tick("nightly", "skipped", ago=3000, reason="the run before was still going")
    site.shop.tick("nightly", "missed", ago=2000, reason="no server was running " * 5)
    with site.shop.app.app_context():
        site.shop.scheduler.override(
            "nightly", cron="0,15,30,45 1-5 * * MON-FRI", jitter=300, overlap="queue"
        )
    job = site.shop.job(JobState.PROCESSING, ago=30, recurring_id="nightly")
    site.shop.tick("nightly", "triggered", ago=30, job_id=job, reason="by Ann")
    return job


def type_into(page: Page, field: str, text: str) -> None:
    """As a person does: what stands there is chosen and typed over."""
    box = page.locator(f"#f-{field}")
    box.select_text()
    page.keyboard.type(text)


def test_a_bar_tells_by_mouse_and_by_keyboard_and_leads_to_its_job(site: Site, page: Page) -> None:
    job = fill(site)
    page.goto(site.url + DETAILS)
    bars = page.locator(".runbar-hit")
    tips = page.locator(".runbar-tip")
    expect(bars).to_have_count(36)
    expect(page.get_by_role("link", name="Failed")).to_have_count(0)
    expect(page.get_by_role("link", name="Succeeded in")).to_have_count(33)
    expect(tips.nth(10)).to_have_css("opacity", "0")
    bars.nth(10).hover()
    expect(tips.nth(10)).to_have_css("opacity", "1")
    expect(tips.nth(10)).to_contain_text("Succeeded in")
    bars.nth(0).focus()  # the newest
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    expect(tips.nth(0)).to_have_css("opacity", "1")
    expect(tips.nth(0)).to_contain_text("Running, by hand")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/hangfire/jobs/details/{job}")


def test_the_next_ticks_on_the_viewer_s_clocks(site: Site, chromium: Browser) -> None:
    with chromium.new_context(timezone_id="Asia/Tokyo") as context:
        page = context.new_page()
        page.goto(site.url + DETAILS)
        expect(page.locator("[data-viewer-zone]")).to_have_text("Yours, Asia/Tokyo")
        row = page.locator(".coming tbody tr").first
        winter = "CET" in row.inner_text()
        expect(row.locator("td").nth(0)).to_contain_text("03:00:00")
        expect(row.locator("td").nth(1)).to_contain_text("11:00:00" if winter else "10:00:00")


def test_what_is_typed_is_previewed_and_saved(site: Site, page: Page) -> None:
    page.goto(site.url + EDIT)
    preview = page.locator("#preview")
    expect(preview).to_contain_text("At 03:00")
    type_into(page, "cron", "15 4 * * MON")
    expect(preview.locator(".schedule-words")).to_have_text("At 04:15, only on Monday")
    expect(preview.locator(".coming-clock", has_text="04:15:00")).not_to_have_count(0)
    expect(page.locator("#f-cron")).to_be_focused()
    type_into(page, "timezone", "Asia/Tokyo")
    expect(preview.locator(".coming-zone", has_text="JST")).to_have_count(5)
    type_into(page, "cron", "61 4 * * *")
    expect(page.locator("#e-cron")).to_contain_text("the field Minutes is wrong")
    expect(page.locator("#f-cron")).to_have_attribute("aria-invalid", "true")
    expect(preview).to_contain_text("the field Minutes is wrong")
    expect(page.locator("#f-cron")).to_have_value("61 4 * * *")
    expect(page.locator("#f-timezone")).to_have_value("Asia/Tokyo")
    type_into(page, "cron", "@every 90s")
    expect(preview.locator(".schedule-words")).to_have_text("Every 90 seconds")
    expect(page.locator("#e-cron")).to_be_empty()
    page.locator("#f-overlap").select_option("skip")
    expect(preview).to_contain_text("not saved yet")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/recurring/details?id=nightly&told=saved")
    expect(page.locator("[data-toast]")).to_contain_text("Saved.")
    expect(page.locator(".schedule")).to_contain_text("0 3 * * *")
    job = site.shop.store.recurring.get("nightly")
    assert job is not None
    assert (job.cron, job.timezone, job.overlap) == ("@every 90s", "Asia/Tokyo", "skip")
    page.get_by_role("button", name="Reset “When it runs” to what the code says").click()
    expect(page.locator(".schedule-words")).to_have_text("At 03:00")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Reset all").click()
    expect(page.get_by_role("button", name="Reset all")).to_have_count(0)
    job = site.shop.store.recurring.get("nightly")
    assert job is not None
    assert job.overrides == {}


def test_what_was_chosen_meanwhile_stays_when_a_preview_comes_in(site: Site, page: Page) -> None:
    page.goto(site.url + EDIT)
    held = hold_first(page, "**/recurring/edit?**")
    type_into(page, "keep", "5")
    site.wait_for(page, lambda: bool(held))
    page.evaluate("document.querySelector('#f-overlap').value = 'cancel'")  # no event: no request
    page.locator("#f-paused").evaluate("box => { box.checked = true; }")
    held[0].continue_()
    expect(page.locator("#preview")).to_contain_text("not saved yet")
    expect(page.locator("#f-overlap")).to_have_value("cancel")
    expect(page.locator("#f-paused")).to_be_checked()


def test_bad_values_come_back_beside_their_fields(
    site: Site, page: Page, page_watch: PageWatch
) -> None:
    page_watch.expect("response: 422")
    page.goto(site.url + EDIT)
    page.locator("#f-keep").fill("none")
    page.locator("#f-timezone").fill("Asia/Tokyo")
    page.locator("#f-timezone").press("Enter")  # saves, whatever other buttons there are
    expect(page.locator("#e-keep")).to_contain_text("whole number")
    expect(page.locator("#f-timezone")).to_have_value("Asia/Tokyo")
    page.get_by_role("link", name="Finished runs to keep").click()
    expect(page.locator("#f-keep")).to_be_in_viewport()
    page.locator("#f-keep").fill("20")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("[data-toast]")).to_contain_text("Saved.")


def test_editing_without_scripts(site: Site, chromium: Browser) -> None:
    with chromium.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(site.url + DETAILS)
        page.get_by_role("link", name="Edit").click()
        page.locator("#f-cron").fill("*/20 * * * *")
        page.get_by_role("button", name="Show what would be due").click()
        expect(page.locator("#preview")).to_contain_text("Every 20 minutes")
        page.locator("#f-paused").check()
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator("[data-toast]")).to_contain_text("Saved.")
        expect(page.locator(".page-head")).to_contain_text("Paused")
        page.get_by_role("button", name="Reset “When it runs” to what the code says").click()
        expect(page.locator(".schedule-words")).to_have_text("At 03:00")
        page.get_by_role("link", name="Edit").click()
        page.locator("#f-keep").fill("5")
        page.get_by_role("button", name="Reset all").click()
        expect(page.locator("#f-paused")).not_to_be_checked()
        expect(page.locator("#f-keep")).to_have_value("5")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator("[data-toast]")).to_contain_text("Saved.")
    job = site.shop.store.recurring.get("nightly")
    assert job is not None
    assert job.overrides == {"keep": 5}
