"""The dashboard in a real browser: live, quiet when nobody looks, within its own policy."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from flask_recurring import AllowAll, JobContext, JobState, Scheduler
from tests.browser import PageWatch
from tests.site import POLL, Site, hold_first, open_site, served
from tests.test_dashboard import HOSTILE, fill

pytestmark = pytest.mark.browser


@pytest.fixture
def site(sqlite_url: str) -> Iterator[Site]:
    with open_site(sqlite_url) as opened:
        yield opened


def test_a_part_is_asked_for_again_and_not_sent_again(site: Site, page: Page) -> None:
    site.watch(page)
    page.goto(f"{site.url}/hangfire/servers")
    site.wait_for(page, lambda: 304 in site.statuses("/hangfire/servers"))
    site.wait_for(page, lambda: 304 in site.statuses("/hangfire/navigation?at=servers"))
    site.shop.server(name="late-comer")
    expect(page.get_by_text("late-comer")).to_be_visible()


def test_a_tab_that_nobody_sees_asks_nothing(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/hangfire/servers")
    page.evaluate(
        """() => {
          window.seen = false;
          Object.defineProperty(document, "hidden", { get: () => !window.seen });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    page.wait_for_timeout(POLL * 1000)
    site.watch(page)
    page.wait_for_timeout(POLL * 5000)
    assert site.seen == []
    page.evaluate(
        "() => { window.seen = true; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    site.wait_for(page, lambda: len(site.seen) >= 2)


def test_triggered_runs_show_at_once(site: Site, page: Page) -> None:
    site.shop.recurring(HOSTILE)
    page.goto(f"{site.url}/hangfire/recurring")
    row = page.locator("tr", has_text="<script>")
    expect(row).to_contain_text("never")
    row.get_by_role("button", name="Trigger now").click()
    expect(row).to_contain_text("Enqueued")
    page.locator("[data-toast] a").click()
    expect(page.locator("h1")).to_contain_text("shop.tidy")
    expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    assert page.url.endswith(
        f"/hangfire/jobs/details/{site.shop.store.jobs.page(None).items[0].id}"
    )


def test_tabs_and_filters_stand_in_the_address(site: Site, page: Page) -> None:
    fill(site.shop)
    site.watch(page)
    page.goto(f"{site.url}/hangfire/jobs/failed?queue=mail")
    page.get_by_role("link", name=re.compile("^Succeeded")).click()
    page.wait_for_url("**/hangfire/jobs/succeeded?queue=mail")
    expect(page).to_have_title("Succeeded jobs · Recurring jobs")
    # From now on it asks for what it shows.
    site.wait_for(page, lambda: 304 in site.statuses("/hangfire/jobs/succeeded?queue=mail"))
    page.go_back()
    page.wait_for_url("**/hangfire/jobs/failed?queue=mail")
    expect(page.locator("[aria-current=page]", has_text="Failed")).to_be_visible()
    page.goto(f"{site.url}/hangfire/recurring")
    page.keyboard.press("/")
    page.keyboard.type("night")
    page.wait_for_url("**/hangfire/recurring?q=night")
    expect(page.locator("#q")).to_be_focused()
    expect(page.locator("tbody tr")).to_have_count(1)


@pytest.mark.parametrize("wanted", ["a filter", "an action"])
def test_what_a_reader_does_while_an_answer_comes_in_is_done(
    site: Site, page: Page, wanted: str
) -> None:
    """The first answer after loading gives the live part other attributes than it had."""
    held = hold_first(page, "**/hangfire/recurring")
    page.add_init_script(
        """window.queued = [];
        document.addEventListener("htmx:trigger", (e) => window.queued.push(e.target.localName));"""
    )
    page.goto(f"{site.url}/hangfire/recurring")
    site.wait_for(page, lambda: bool(held))
    if wanted == "a filter":
        page.keyboard.press("/")
        page.keyboard.type("night")
    else:
        page.get_by_role("button", name="Pause").click()
    wants = "input" if wanted == "a filter" else "button"
    site.wait_for(page, lambda: wants in page.evaluate("window.queued"))
    held[0].continue_()
    if wanted == "a filter":
        page.wait_for_url("**/hangfire/recurring?q=night")
    else:
        expect(page.locator("[data-toast]")).to_contain_text("Paused nightly.")


def test_the_reader_s_colours_are_remembered(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/hangfire/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for _ in range(2):
        page.locator("#theme").click()
    page.goto(f"{site.url}/hangfire/servers")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_a_lost_connection_is_said_and_heals(site: Site, page: Page, page_watch: PageWatch) -> None:
    page_watch.expect("htmx:sendError|htmx:afterRequest|ERR_FAILED")
    page.goto(f"{site.url}/hangfire/servers")
    page.route("**/*", lambda route: route.abort())
    expect(page.locator("#offline")).to_be_visible()
    page.unroute("**/*")
    expect(page.locator("#offline")).to_be_hidden()


def test_an_action_that_fails_is_said(site: Site, page: Page, page_watch: PageWatch) -> None:
    page_watch.expect("response: 404|Status Error Code 404|htmx:|FAILED")
    site.shop.recurring("short-lived")
    page.goto(f"{site.url}/hangfire/recurring")
    page.route("**/recurring", lambda route: route.abort())
    with site.shop.app.app_context():
        site.shop.scheduler.remove("short-lived")
    row = page.locator("tr", has_text="short-lived")
    row.get_by_role("button", name="Trigger now").click()
    expect(page.locator("[data-toast]")).to_contain_text("somebody removed it")
    page.unroute("**/recurring")
    page.route("**/pause", lambda route: route.abort())
    page.get_by_role("button", name="Pause").first.click()
    expect(page.locator("[data-toast]").last).to_contain_text("nothing was done")


def test_reading_and_acting_without_scripts(site: Site, chromium: Browser) -> None:
    jobs = [site.shop.job(JobState.FAILED, ago=n) for n in range(2)]
    with chromium.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{site.url}/hangfire/recurring")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("[data-toast]")).to_contain_text("Paused.")
        page.goto(f"{site.url}/hangfire/jobs/failed")
        page.locator(f"#select-{jobs[0]}").check()
        page.locator("[data-bulk]").get_by_role("button", name="Requeue").click()
        expect(page.locator("[data-toast]")).to_contain_text("1 job put back in the queue.")
        page.locator(f"#job-{jobs[1]}").get_by_role("button", name="Delete").click()
        expect(page.locator("tbody tr")).to_have_count(0)
    states = [job.state for id in jobs if (job := site.shop.store.jobs.get(id))]
    assert states == [JobState.ENQUEUED, JobState.DELETED]


def test_a_real_job_is_watched_live(sqlite_url: str, page: Page) -> None:
    """Each line is seen before the job goes on; when the job ends, so does the asking."""
    scheduler = Scheduler()
    say, said = threading.Semaphore(0), threading.Semaphore(0)

    @scheduler.task("report", retry=False)
    def report(context: JobContext) -> dict[str, int]:
        bar = context.progress_bar("pages", color="green")
        for number in range(4):
            assert say.acquire(timeout=30)
            context.write_line(f"page {number} is written", color="yellow")
            bar.set(number * 25)
            said.release()
        assert say.acquire(timeout=30)
        context.write_line("the end")
        return {"pages": 4}

    app = Flask("reports")
    app.config.update(
        RECURRING_DATABASE_URL=sqlite_url,
        RECURRING_WORKER_ENABLED=False,
        RECURRING_DASHBOARD_AUTHORIZATION=[AllowAll()],
    )
    scheduler.init_app(app)
    binding = scheduler.binding
    binding.start_server()
    try:
        with served(app) as url:
            job = scheduler.enqueue(report)
            page.goto(f"{url}/hangfire/jobs/details/{job.id}")
            expect(page.locator(".page-head .state")).to_have_text("Processing")
            for number in range(4):
                say.release()
                assert said.acquire(timeout=10)
                page.get_by_text(f"page {number} is written").wait_for()
            expect(page.locator(".bar progress")).to_have_count(1)
            expect(page.locator(".bar progress")).to_have_js_property("value", 75)
            say.release()
            expect(page.locator(".page-head .state")).to_have_text("Succeeded")
            expect(page.locator("#console-lines")).to_contain_text("the end")
            expect(page.locator("#console-tail")).to_have_count(0)
            expect(page.locator("[data-console-live]")).to_be_hidden()
            expect(page.locator(".result")).to_contain_text('"pages": 4')
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.wait_for_timeout(2500)
            assert not [address for address in asked if "details" in address]
            page.goto("about:blank")  # so that it asks nothing of a server that has gone
    finally:
        for _ in range(5):
            say.release()
        binding.stop_server()
        binding.store.database.close()
        binding.store.database.bare_engine.dispose()
