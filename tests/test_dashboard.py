"""The dashboard by its answers: who is let in, what is shown, what is done, what it costs."""

from __future__ import annotations

import gzip
import hashlib
import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, Request

from flask_recurring import Access, Decision, JobState, Scheduler
from flask_recurring._dashboard import assets, blueprint, jobs, shared
from flask_recurring._dashboard.security import HEADERS
from tests.dashboard import HTMX, Shop, open_shop
from tests.waiting import wait_for

HOSTILE = "../a b/<script>alert('ä')</script>?x=1&y=2#z"
PAGES = (
    "/hangfire",
    "/hangfire/",
    "/hangfire/recurring",
    "/hangfire/recurring/details?id=nightly",
    "/hangfire/recurring/edit?id=nightly",
    "/hangfire/jobs",
    "/hangfire/servers",
    *(f"/hangfire/jobs/{state.lower()}" for state in JobState),
)


@pytest.fixture
def shop(database_url: str) -> Iterator[Shop]:
    with open_shop(database_url) as opened:
        yield opened


@pytest.fixture
def small_shop(sqlite_url: str) -> Iterator[Shop]:
    """A shop for what has nothing to do with the kind of database."""
    with open_shop(sqlite_url) as opened:
        yield opened


class Links(HTMLParser):
    """All addresses that a page leads or posts to."""

    NAMES = frozenset({"href", "src", "action", "formaction", "hx-get", "hx-post"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in self.NAMES and value]


def fill(shop: Shop) -> dict[str, int]:
    """Something for every page to show."""
    server = shop.server()
    failed = shop.job(JobState.FAILED, ago=60, error="ValueError: no such address", ran_on=server)
    shop.attempt(failed, ago=60)
    running = shop.job(JobState.PROCESSING, args=["a@b.c"], kwargs={"copies": 2})
    shop.line(running, 1, "Job started")
    shop.line(running, 2, "pages", progress=42.5)
    retried = shop.job(JobState.SCHEDULED, attempt=1, claim=1)
    shop.attempt(retried)
    return {
        "failed": failed,
        "running": running,
        "retried": retried,
        "succeeded": shop.job(JobState.SUCCEEDED, result='{"sent": 1}'),
        "deleted": shop.job(JobState.DELETED),
        "enqueued": shop.job(),
    }


# -- pages


def test_every_page_shows(shop: Shop) -> None:
    """Empty and filled, whole and in part."""
    for _ in range(2):
        for path in PAGES:
            assert shop.client.get(path).status_code == 200, path
            assert shop.fragment(path).status_code == 200, path
        fill(shop)
    for job in (job for job in range(1, 7)):
        whole = shop.client.get(f"/hangfire/jobs/details/{job}")
        assert whole.status_code == 200
        assert "<html" in whole.text


def test_a_job_tells_everything(shop: Shop) -> None:
    ids = fill(shop)
    running = shop.client.get(f"/hangfire/jobs/details/{ids['running']}").text
    assert "a@b.c" in running
    assert "copies" in running
    assert "Job started" in running
    assert '<progress max="100" value="42.5">' in running
    assert "web-1" not in running  # nobody has run it so far
    failed = shop.client.get(f"/hangfire/jobs/details/{ids['failed']}").text
    assert "ValueError" in failed
    assert "Traceback (most recent call last)" in failed
    assert "web-1" in failed
    assert '1<span class="of"> of 11</span>' in failed
    succeeded = shop.client.get(f"/hangfire/jobs/details/{ids['succeeded']}").text
    assert "&#34;sent&#34;" in succeeded


def test_overview_counts_what_is_there(shop: Shop) -> None:
    fill(shop)
    text = shop.client.get("/hangfire/").text
    figures = re.findall(r'tile-name">(\w+)<.*?id="figure-\w+"[^>]*>([\d,+]+)<', text, re.DOTALL)
    assert dict(figures) == {
        "Enqueued": "1",
        "Processing": "1",
        "Scheduled": "1",
        "Awaiting": "0",
        "Succeeded": "1",
        "Failed": "1",
        "Deleted": "1",
    }
    assert "nightly" in text
    assert "ValueError: no such address" in text
    assert "3/10" in text


def test_recurring_list_says_when_and_in_words(shop: Shop) -> None:
    text = shop.client.get("/hangfire/recurring").text
    assert "At 03:00" in text
    assert "Europe/Vienna" in text
    assert "0 3 * * *" in text
    assert "never" in text


@pytest.mark.parametrize("query", ["", "?sort=next", "?sort=last", "?q=SYNC", "?q=sync&sort=last"])
def test_recurring_list_is_filtered_sorted_and_paged(database_url: str, query: str) -> None:
    with open_shop(database_url, RECURRING_DASHBOARD_PAGE_SIZE=3) as shop:
        for number in range(7):
            shop.recurring(f"sync {number}", f"{number} 3 * * *")
        with shop.app.app_context():
            for number in (5, 2):
                shop.scheduler.trigger(f"sync {number}")
            shop.scheduler.pause("sync 0")

        def read(address: str, way: str) -> tuple[list[str], str | None]:
            text = shop.client.get(address).text
            ids = re.findall(r'cell-title"[^>]*><bdi class="name">([^<]*)<', text)
            link = re.search(rf'<a class="button" href="([^"]*{way}=[^"]*)"', text)
            return ids, html.unescape(link[1]) if link else None

        pages: list[list[str]] = []
        last = ""
        address: str | None = f"/hangfire/recurring{query}"
        while address:
            last = address
            ids, address = read(address, "after")
            pages.append(ids)
        assert [len(ids) for ids in pages] == [3, 3, 1] if "q=" in query else [3, 3, 2]
        every = [id for ids in pages for id in ids]
        assert sorted(every) == (["nightly"] if "q=" not in query else []) + [
            f"sync {number}" for number in range(7)
        ]
        if "sort=next" in query:
            assert every[-1] == "sync 0"  # has no next tick
        if "sort=last" in query:
            assert every[:2] == ["sync 2", "sync 5"]
        back = read(last, "before")[1]
        assert back is not None
        assert read(back, "before")[0] == pages[1]


def test_recurring_list_says_what_it_does_not_find(small_shop: Shop) -> None:
    ids = re.compile(r'class="cell-title"')
    assert "has “<bdi>nothing</bdi>”" in small_shop.client.get("/hangfire/recurring?q=nothing").text
    assert ids.search(small_shop.client.get("/hangfire/recurring?q=shop.tidy").text)
    assert ids.search(small_shop.client.get("/hangfire/recurring?sort=nonsense").text)
    assert "Show all 1" in small_shop.client.get("/hangfire/recurring?after=.z").text


def test_job_pages_follow_a_cursor_and_keep_the_filter(sqlite_url: str) -> None:
    with open_shop(sqlite_url, RECURRING_DASHBOARD_PAGE_SIZE=2) as shop:
        wanted = [shop.job(JobState.SUCCEEDED, ago=10 - n, queue="a&b") for n in range(5)]
        shop.job(JobState.SUCCEEDED, queue="other")
        address = "/hangfire/jobs/succeeded?queue=a%26b"
        seen: list[int] = []
        for _ in range(3):
            text = shop.client.get(address).text
            seen += [int(found) for found in re.findall(r'<tr id="job-(\d+)"', text)]
            older = re.findall(r'<a class="button" href="([^"]*before=[^"]*)"', text)
            assert all("queue=a%26b" in link for link in older)
            address = older[0].replace("&amp;", "&") if older else ""
        assert seen == wanted[::-1]
        assert not address


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/hangfire/jobs/nonsense", 404),
        ("/hangfire/jobs/failed?before=nonsense", 400),
        ("/hangfire/recurring?before=nonsense", 400),
        ("/hangfire/recurring?sort=next&after=x.y", 400),
        ("/hangfire/jobs/details/4711", 404),
        ("/hangfire/jobs/details/99999999999999999999999", 404),
        ("/hangfire/jobs/details/4711/console", 404),
        ("/hangfire/recurring/details", 404),
        ("/hangfire/recurring/details?id=unknown", 404),
        ("/hangfire/nonsense", 404),
    ],
)
def test_what_is_not_there_is_said(small_shop: Shop, path: str, status: int) -> None:
    answer = small_shop.client.get(path)
    assert answer.status_code == status
    assert "<h1>" in answer.text
    assert "Content-Security-Policy" in answer.headers


def test_title_and_way_back_come_from_the_settings(sqlite_url: str) -> None:
    config = {"DASHBOARD_TITLE": "Night & day", "DASHBOARD_BACK_URL": "/admin/?a=1&b=2"}
    with open_shop(sqlite_url, **{f"RECURRING_{k}": v for k, v in config.items()}) as shop:
        text = shop.client.get("/hangfire/").text
    assert "Overview · Night &amp; day</title>" in text
    assert 'href="/admin/?a=1&amp;b=2"' in text


# -- headers


def test_every_answer_carries_the_headers(small_shop: Shop) -> None:
    ids = fill(small_shop)
    client = small_shop.client
    detail = f"/hangfire/jobs/details/{ids['failed']}"
    asset = next(link for link in Links(client.get("/hangfire/").text).found if "console" in link)
    tag = small_shop.fragment("/hangfire/servers").headers["ETag"]
    answers = [
        *(client.get(path) for path in PAGES),
        client.get(detail),
        client.get(asset),
        client.get("/hangfire/nonsense"),
        client.get(f"{detail}/console.txt"),
        client.post("/hangfire/nonsense"),
        client.post("/hangfire/recurring/trigger", data={"id": "nightly"}),
        client.post("/hangfire/jobs/delete", headers={"Origin": "http://evil.example"}),
        client.put("/hangfire/"),
        small_shop.fragment("/hangfire/servers", **{"If-None-Match": tag}),
    ]
    assert {answer.status_code for answer in answers} == {200, 404, 405, 303, 403, 304}
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        for part in (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ):
            assert part in policy.split("; ")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        if not answer.request.path.startswith("/hangfire/static"):
            assert answer.headers["Cache-Control"] == "no-store"
        if answer.status_code != 304:
            assert answer.headers["Content-Type"].endswith("charset=utf-8")


def test_assets_are_kept_for_ever_under_an_address_that_follows_their_content(
    small_shop: Shop,
) -> None:
    links = [
        link
        for link in Links(small_shop.client.get("/hangfire/").text).found
        if link.startswith("/hangfire/static/")
    ]
    assert any("htmx.org-2.0.11" in link for link in links)
    for link in links:
        answer = small_shop.client.get(link)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        version = link.split("/")[3]
        if version != "vendor":
            assert version == hashlib.sha256(answer.data).hexdigest()[:12]
    stale = re.sub(r"/static/[0-9a-f]{12}/", "/static/000000000000/", links[-1])
    assert small_shop.client.get(stale).headers["Cache-Control"] == "no-cache"
    for name in ("nothing.js", "vendor/VENDORED.md", "../pyproject.toml", "%2e%2e/pyproject.toml"):
        assert small_shop.client.get(f"/hangfire/static/x/{name}").status_code == 404
        assert small_shop.client.get(f"/hangfire/static/vendor/{name}").status_code == 404


def test_a_page_allows_htmx_nothing_that_the_policy_forbids(small_shop: Shop) -> None:
    text = small_shop.client.get("/hangfire/").text
    for setting in (
        '"includeIndicatorStyles":false',
        '"allowEval":false',
        '"allowScriptTags":false',
        '"selfRequestsOnly":true',
        '"historyCacheSize":0',
        # With a delay a poll can bring back the tab that was just left.
        '"defaultSettleDelay":0',
    ):
        assert setting in text


# -- the door


def test_closed_by_default(sqlite_url: str) -> None:
    with open_shop(sqlite_url, RECURRING_DASHBOARD_AUTHORIZATION=[]) as shop:
        for path in PAGES:
            answer = shop.client.get(path)
            assert answer.status_code == 401
            assert "nightly" not in answer.text
            assert "scheduler.authorization" not in answer.text
        refused = shop.client.post("/hangfire/recurring/trigger", data={"id": "nightly"})
        assert refused.status_code == 401
        assert not shop.store.jobs.page(None).items
        assert shop.fragment("/hangfire/").status_code == 401
        # What makes the refusal a page shows no data, so it needs no key.
        style = next(link for link in Links(answer.text).found if link.endswith(".css"))
        assert shop.client.get(style).status_code == 200


def test_the_first_refusal_without_a_hook_tells_how_to_open_the_door(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_shop(sqlite_url, RECURRING_DASHBOARD_AUTHORIZATION=[]) as shop:
        shop.client.get("/hangfire/")
        shop.client.get("/hangfire/")
        (told,) = [one.getMessage() for one in caplog.records if one.name == "flask_recurring"]
        assert "@scheduler.authorization" in told
        caplog.clear()
        shop.scheduler.authorization(lambda request: False)
        shop.client.get("/hangfire/")
        assert not caplog.records


def test_a_hook_that_refuses_tells_the_log_nothing(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    refuse = [lambda request: False]
    with open_shop(sqlite_url, RECURRING_DASHBOARD_AUTHORIZATION=refuse) as shop:
        assert shop.client.get("/hangfire/").status_code == 401
        assert not caplog.records


def test_each_401_says_what_would_let_one_in(sqlite_url: str) -> None:
    """Without opening a browser's prompt for name and password, unless the hook wants one."""
    with open_shop(sqlite_url, RECURRING_DASHBOARD_AUTHORIZATION=[]) as shop:
        closed = shop.client.get("/hangfire/")
        assert closed.headers["WWW-Authenticate"] == 'Session realm="flask-recurring"'

        @shop.scheduler.authorization
        def by_password(request: Request) -> Decision:
            given = request.authorization
            if given is None or (given.username, given.password) != ("ann", "x"):
                return Decision(False, challenge='Basic realm="jobs"')
            return Decision(request.args.get("as") != "guest", user=given.username)

        for auth in (None, ("ann", "wrong"), ("ann", "")):
            refused = shop.client.get("/hangfire/", auth=auth)
            assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (
                401,
                'Basic realm="jobs"',
            )
        assert shop.client.get("/hangfire/", auth=("ann", "x")).status_code == 200
        known = shop.client.get("/hangfire/?as=guest", auth=("ann", "x"))
        assert known.status_code == 403
        assert "WWW-Authenticate" not in known.headers
        assert shop.client.get("/hangfire/").status_code == 401


def test_what_was_not_verified_is_nobody(sqlite_url: str) -> None:
    with open_shop(sqlite_url, RECURRING_DASHBOARD_AUTHORIZATION=[lambda request: False]) as shop:
        for header in ("Bearer x", "Basic YW5uOg==", "rubbish"):
            answer = shop.client.get("/hangfire/", headers={"Authorization": header})
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == 'Session realm="flask-recurring"'
        known = shop.client.get("/hangfire/", environ_overrides={"REMOTE_USER": "ann"})
        assert known.status_code == 403


def test_nobody_chooses_a_name_for_the_audit(small_shop: Shop) -> None:
    def pause(**how: Any) -> str:
        for action in ("pause", "resume"):
            small_shop.client.post(f"/hangfire/recurring/{action}", data={"id": "nightly"}, **how)
        return small_shop.audit()[-1][0]

    assert pause(auth=("ceo", "")) == "127.0.0.1"
    assert pause(environ_overrides={"REMOTE_USER": "bob"}) == "bob"
    small_shop.scheduler.authorization(lambda request: Decision(True, user="ann"))
    assert pause(auth=("ceo", "")) == "ann"


@pytest.mark.parametrize("early", [True, False])
def test_flask_talisman_leaves_our_headers_as_they_are(sqlite_url: str, early: bool) -> None:
    """Whether it was set up before us or after."""
    talisman = pytest.importorskip("flask_talisman")
    with open_shop(sqlite_url) as shop:
        ours = shop.client.get("/hangfire/").headers
        app = Flask("secure")
        app.config.update(shop.app.config, RECURRING_DATABASE_URL=sqlite_url)
        scheduler = Scheduler()
        options = {"force_https": False, "content_security_policy": "default-src https://cdn"}
        if early:
            talisman.Talisman(app, **options)
        scheduler.init_app(app)
        if not early:
            talisman.Talisman(app, **options)
        app.add_url_rule("/own", view_func=lambda: "theirs", endpoint="own")
        client = app.test_client()
        assert client.get("/own").headers["Content-Security-Policy"] == "default-src https://cdn"
        for path in (
            "/hangfire/",
            "/hangfire/nothing",
            Links(client.get("/hangfire/").text).found[0],
        ):
            headers = client.get(path).headers
            for name in HEADERS:
                assert headers.getlist(name) == [ours[name]], (path, name)
        scheduler.binding_of(app).store.database.bare_engine.dispose()


def test_debug_mode_tells_how_to_open_the_door(sqlite_url: str) -> None:
    with open_shop(sqlite_url, RECURRING_DASHBOARD_AUTHORIZATION=[], DEBUG=True) as shop:
        local = shop.client.get("/hangfire/")
        assert local.status_code == 200
        elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
        foreign = shop.client.get("/hangfire/", environ_overrides=elsewhere)
        assert foreign.status_code == 401
        assert "@scheduler.authorization" in foreign.text


def test_hooks_of_the_settings_and_of_the_scheduler_count(sqlite_url: str) -> None:
    with open_shop(sqlite_url) as shop:

        @shop.scheduler.authorization
        def only_with_key(request: Request) -> bool:
            return request.args.get("key") == "x"

        assert shop.client.get("/hangfire/").status_code == 401
        assert shop.client.get("/hangfire/?key=x").status_code == 200


def test_reading_is_not_operating(sqlite_url: str) -> None:
    read = [lambda request: Access.READ]
    with open_shop(sqlite_url, RECURRING_DASHBOARD_AUTHORIZATION=read) as shop:
        ids = fill(shop)
        paths = [*PAGES, *(f"/hangfire/jobs/details/{job}" for job in ids.values())]
        for path in paths:
            text = shop.client.get(path).text
            assert "hx-post" not in text
            assert 'method="post"' not in text
            assert 'type="checkbox"' not in text
        for path, data in (
            ("recurring/trigger", {"id": "nightly"}),
            ("recurring/remove", {"id": "nightly"}),
            ("jobs/delete", {"job": str(ids["failed"])}),
        ):
            assert shop.client.post(f"/hangfire/{path}", data=data).status_code == 403
        job = shop.store.jobs.get(ids["failed"])
        assert job is not None
        assert job.state is JobState.FAILED
        assert shop.store.recurring.get("nightly")
        assert not shop.audit()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "http://localhost"}, 303),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_actions_come_from_our_own_pages(
    small_shop: Shop, headers: dict[str, str], status: int
) -> None:
    answer = small_shop.client.post(
        "/hangfire/recurring/trigger", data={"id": "nightly"}, headers=headers
    )
    assert answer.status_code == status
    assert len(small_shop.store.jobs.page(None).items) == (status == 303)


@pytest.mark.parametrize("action", ["trigger", "pause", "resume", "remove", "reset"])
def test_looking_changes_nothing(small_shop: Shop, action: str) -> None:
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
        answer = small_shop.client.open(
            f"/hangfire/recurring/{action}?id=nightly", method=method, data={"id": "nightly"}
        )
        assert answer.status_code in (404, 405)
    assert not small_shop.audit()


def test_the_application_s_csrf_protection_does_not_stop_us(small_shop: Shop) -> None:
    """Whenever it is set up, before us or after."""
    flask_wtf = pytest.importorskip("flask_wtf")
    small_shop.app.config["SECRET_KEY"] = "x"
    small_shop.app.config["WTF_CSRF_ENABLED"] = True
    flask_wtf.CSRFProtect(small_shop.app)
    small_shop.app.add_url_rule("/own", view_func=lambda: "done", methods=["POST"], endpoint="own")
    assert small_shop.client.post("/own").status_code == 400
    answer = small_shop.client.post("/hangfire/recurring/pause", data={"id": "nightly"})
    assert answer.status_code == 303


def test_a_csrf_extension_is_asked_to_exempt_us(small_shop: Shop) -> None:
    exempted: list[Any] = []

    class Protection:
        def exempt(self, view: Any) -> None:
            exempted.append(view)

    small_shop.app.extensions["csrf"] = Protection()
    small_shop.client.post("/hangfire/recurring/pause", data={"id": "nightly"})
    assert [view.name for view in exempted] == ["recurring"]


# -- fragments


def test_htmx_gets_the_live_part_only(small_shop: Shop) -> None:
    for path in PAGES:
        part = small_shop.fragment(path)
        assert "<html" not in part.text
        assert '<section id="live"' in part.text
        assert "HX-Request" in part.headers["Vary"]
    for header in ("HX-Boosted", "HX-History-Restore-Request"):
        assert "<html" in small_shop.fragment("/hangfire/", **{header: "true"}).text


@pytest.mark.parametrize(
    "path", ["/", "/recurring", "/jobs", "/jobs/failed", "/servers", "/navigation?at=jobs"]
)
def test_what_did_not_change_is_not_sent_again(shop: Shop, path: str) -> None:
    fill(shop)
    first = shop.fragment(f"/hangfire{path}")
    again = shop.fragment(f"/hangfire{path}", **{"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    assert not again.data
    strong = first.headers["ETag"].removeprefix("W/")
    assert shop.fragment(f"/hangfire{path}", **{"If-None-Match": strong}).status_code == 304
    shop.job(JobState.FAILED)
    shop.recurring("another")
    shop.server(name="web-2")
    changed = shop.fragment(f"/hangfire{path}", **{"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200


def test_a_list_of_what_is_rare_says_how_far_it_looked(
    small_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LOOK", 5)
    monkeypatch.setattr(jobs, "FURTHER", 20)
    rare = small_shop.job(JobState.FAILED, task="rare", ago=100)
    for number in range(10):
        small_shop.job(JobState.FAILED, ago=number)
    first = small_shop.client.get("/hangfire/jobs/failed?task=rare").text
    assert "None of the 5 failed jobs that were looked through fits; there are more." in first
    (further,) = {html.unescape(link) for link in Links(first).found if "before=" in link}
    found = small_shop.client.get(further).text
    assert f'id="job-{rare}"' in found
    assert "looked through" not in found
    # All that there are: nothing is said about a limit.
    assert "looked through" not in small_shop.client.get("/hangfire/jobs/failed").text
    none = small_shop.client.get("/hangfire/jobs/failed?task=none")
    assert "Nothing matches" not in none.text


def test_live_parts_are_compressed_and_whole_pages_are_not(shop: Shop) -> None:
    """Another site can make a browser ask for a whole page, with guesses in the address."""
    fill(shop)
    path, gzipped = "/hangfire/jobs", {"Accept-Encoding": "br, gzip"}
    plain = shop.fragment(path)
    part = shop.fragment(path, **gzipped)
    assert part.headers["Content-Encoding"] == "gzip"
    assert len(part.data) == int(part.headers["Content-Length"]) < len(plain.data) / 3
    assert gzip.decompress(part.data) == plain.data
    assert part.headers["ETag"] == plain.headers["ETag"]
    assert "Accept-Encoding" in part.headers["Vary"]
    assert "Accept-Encoding" in plain.headers["Vary"]
    again = shop.fragment(path, **gzipped, **{"If-None-Match": part.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    for refused in ("gzip;q=0", "identity", "br"):
        answer = shop.fragment(path, **{"Accept-Encoding": refused})
        assert "Content-Encoding" not in answer.headers
    assert "Content-Encoding" not in shop.client.get(path, headers=gzipped).headers


@contextmanager
def statements(shop: Shop) -> Iterator[list[str]]:
    """The statements that the block's pages execute."""
    found: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        found.append(statement)

    engine = shop.store.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def test_viewers_share_what_is_the_same_for_all(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "KEPT", 600.0)
    ids = fill(shop)
    paths = ("/hangfire/", "/hangfire/navigation?at=jobs", "/hangfire/jobs/failed")
    first = [shop.fragment(path).text for path in paths]
    with statements(shop) as found:
        assert [shop.fragment(path).text for path in paths] == first
    assert not found
    # What was done from here shows at once.
    act = shop.client.post("/hangfire/jobs/delete", data={"job": ids["failed"]}, headers=HTMX)
    assert f'id="job-{ids["failed"]}"' not in shop.fragment(paths[2]).text
    assert act.status_code == 200
    assert [shop.fragment(path).text for path in paths[:2]] != first[:2]


def test_a_page_takes_one_connection_and_one_transaction(postgres_url: str) -> None:
    with open_shop(postgres_url) as shop:
        fill(shop)
        pool = shop.store.database.bare_engine.pool
        shop.client.get("/hangfire/")  # which writes what the code declares, once
        taken: list[Any] = []
        sa.event.listen(pool, "checkout", lambda *given: taken.append(given))
        for path in PAGES:
            taken.clear()
            shop.changed()
            assert shop.client.get(path).status_code == 200
            assert len(taken) == 1, path


def test_a_page_that_takes_too_long_says_so(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blueprint, "PATIENCE", 0.2)
    with open_shop(postgres_url) as shop:
        assert shop.client.get("/hangfire/jobs").status_code == 200
        shop.changed()
        with shop.store.database.begin() as connection:
            connection.exec_driver_sql("LOCK TABLE flask_recurring.job")
            slow = shop.client.get("/hangfire/jobs")
            assert slow.status_code == 504
            assert "took too long" in slow.text
            assert shop.fragment("/hangfire/jobs").status_code == 504
        assert shop.client.get("/hangfire/jobs").status_code == 200


def test_a_running_job_is_not_sent_again_each_second(shop: Shop) -> None:
    """Time that passes is told by the page's script, not by a new page."""
    running = fill(shop)["running"]
    began = shop.store.now() - timedelta(seconds=1)
    shop.change(running, created_at=began, started_at=began)
    path = f"/hangfire/jobs/details/{running}?shown=1"
    first = shop.fragment(path)
    moment = shop.store.now()
    wait_for(lambda: shop.store.now() > moment + timedelta(seconds=1.1))
    again = shop.fragment(path, **{"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304


def test_a_finished_job_ends_the_polling(shop: Shop) -> None:
    ids = fill(shop)
    for name, status in {
        "running": 200,
        "enqueued": 200,
        "retried": 200,
        "failed": 286,
        "succeeded": 286,
        "deleted": 286,
    }.items():
        path = f"/hangfire/jobs/details/{ids[name]}"
        part = shop.fragment(path)
        assert part.status_code == status
        assert ("data-poll" in part.text) == (status == 200)
        assert shop.client.get(path).status_code == 200
    assert shop.fragment(f"/hangfire/jobs/details/{ids['failed']}", **{"If-None-Match": "*"}).data


# -- the console


def test_the_tail_carries_only_what_is_new(shop: Shop) -> None:
    job = shop.job(JobState.PROCESSING)
    tail = f"/hangfire/jobs/details/{job}/console?claim=1&after="
    assert shop.fragment(f"{tail}0").status_code == 204
    for seq in range(1, 4):
        shop.line(job, seq, f"line {seq}")
    shop.line(job, 4, "pages", progress=10.0)
    first = shop.fragment(f"{tail}2")
    assert first.status_code == 200
    assert "line 2" not in first.text
    assert "line 3" in first.text
    assert "hx-swap-oob" not in first.text  # the bar is new, too
    second = shop.fragment(f"{tail}4")
    assert "line" not in re.sub(r'(class|id)="[^"]*"', "", second.text)
    assert 'id="line-1-4" data-seq="4"' in second.text
    assert 'hx-swap-oob="true"' in second.text
    unchanged = shop.fragment(f"{tail}4", **{"If-None-Match": second.headers["ETag"]})
    assert unchanged.status_code == 304
    shop.line(job, 5, "the last")
    shop.change(job, state="Succeeded", finished_at=shop.store.now(), server_id=None)
    last = shop.fragment(f"{tail}4")
    assert last.status_code == 286
    assert "the last" in last.text


def test_bars_end_where_they_ended_however_many_there_are(small_shop: Shop) -> None:
    job = small_shop.job(JobState.PROCESSING, server_id=1)
    for seq in range(1, 301):
        small_shop.line(job, seq, f"bar {seq}", progress=100)
    small_shop.change(job, state="Succeeded", finished_at=small_shop.store.now(), server_id=None)
    tail = f"/hangfire/jobs/details/{job}/console?claim=1&after=300"
    last = small_shop.fragment(tail)
    assert last.status_code == 286
    assert last.text.count('hx-swap-oob="true"') == 300
    assert last.text.count('value="100.0"') == 300


def test_a_long_console_comes_in_parts_and_is_downloaded_whole(small_shop: Shop) -> None:
    job = small_shop.job(JobState.SUCCEEDED)
    table = small_shop.store.database.tables.console
    moment = small_shop.store.now()
    with small_shop.store.database.begin() as connection:
        connection.execute(
            table.insert(),
            [
                {"job_id": job, "claim": 1, "seq": n, "at": moment, "text": f"line {n}."}
                for n in range(1, 2502)
            ],
        )
    page = small_shop.client.get(f"/hangfire/jobs/details/{job}").text
    seen = [int(n) for n in re.findall(r'data-seq="(\d+)"', page)]
    assert len(seen) == 1000
    assert "data-tail" in page
    statuses: list[int] = []
    while not statuses or statuses[-1] != 286:
        path = f"/hangfire/jobs/details/{job}/console?claim=1&after={seen[-1]}"
        part = small_shop.fragment(path)
        statuses.append(part.status_code)
        seen += [int(n) for n in re.findall(r'data-seq="(\d+)"', part.text)]
    assert seen == list(range(1, 2502))
    assert statuses == [200, 286]
    text = small_shop.client.get(f"/hangfire/jobs/details/{job}/console.txt?claim=1")
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "attachment" in text.headers["Content-Disposition"]
    assert len(text.text.splitlines()) == 2501
    assert text.text.endswith("line 2501.\n")


def test_a_new_run_brings_its_own_console(shop: Shop) -> None:
    job = shop.job(JobState.PROCESSING)
    shop.line(job, 1, "first run")
    shop.change(job, claim=2)
    shop.line(job, 1, "second run", claim=2)
    part = shop.fragment(f"/hangfire/jobs/details/{job}?shown=1").text
    assert "second run" in part
    assert "first run" not in part
    assert 'id="console"' in part
    assert 'id="console"' not in shop.fragment(f"/hangfire/jobs/details/{job}?shown=2").text
    chosen = shop.client.get(f"/hangfire/jobs/details/{job}?claim=1").text
    assert "first run" in chosen
    assert "second run" not in chosen


def test_console_links_and_colours(small_shop: Shop) -> None:
    job = small_shop.job(JobState.PROCESSING)
    texts = [
        "see https://example.org/a_(b)?x=1&y=2. Or (http://localhost:8000/), done",
        'javascript:alert(1) data:text/html,x https://"onmouseover="alert(1) http://',
        "\x1b[31mred by terminal\x1b[0m <b>bold</b>",
        "\u202egnp.exe",
    ]
    for seq, text in enumerate(texts, 1):
        small_shop.line(job, seq, text, color="dark_green" if seq == 1 else 'x" onclick="y')
    page = small_shop.client.get(f"/hangfire/jobs/details/{job}").text
    links = re.findall(
        r'<a href="([^"]*)" target="_blank" rel="noopener noreferrer nofollow">', page
    )
    assert links == ["https://example.org/a_(b)?x=1&amp;y=2", "http://localhost:8000/"]
    assert "ink-dark_green" in page
    assert "onclick" not in page
    assert "\x1b" not in page
    assert "&lt;b&gt;bold" in page


# -- other people's words


def test_hostile_words_are_inert(shop: Shop) -> None:
    evil = "<img src=x onerror=alert(1)>\"'`{{ 7*7 }}\u202e"
    shop.recurring(HOSTILE, kwargs={})
    job = shop.job(
        JobState.FAILED,
        task=evil,
        queue=evil,
        error=evil,
        recurring_id=HOSTILE,
        args=[evil, {evil: [evil]}],
        kwargs={evil: evil},
    )
    shop.attempt(job, error_type=evil, message=evil, traceback=evil)
    shop.line(job, 1, evil)
    shop.line(job, 2, evil, progress=50.0)
    shop.server(name=evil, host=evil, application=evil, queues=f'["{evil[:12]}"]')
    for path in (*PAGES, f"/hangfire/jobs/details/{job}"):
        for answer in (shop.client.get(path), shop.fragment(path)):
            assert "<img" not in answer.text
            assert "<script>alert" not in answer.text
            assert "49" not in re.sub(r"[0-9a-f]{12}|\d\d:\d\d|\d{2,}", "", answer.text)
    shown = shop.client.get(f"/hangfire/jobs/details/{job}").text
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown
    quiet = shop.client.get("/hangfire/recurring", query_string={"q": evil, "told": evil}).text
    assert "<img" not in quiet


def test_a_link_can_not_put_words_into_our_mouth(small_shop: Shop) -> None:
    for told in (
        "Your%20account%20is%20locked",
        "requeue-1x-1",
        "requeue-²-1",
        "delete-1",
        "x-1-1",
    ):
        page = small_shop.client.get(f"/hangfire/jobs?told={told}&job=1").text
        assert "data-toast" not in page
        page = small_shop.client.get(f"/hangfire/recurring?told={told}&job=1").text
        assert "data-toast" not in page


def test_the_application_s_templates_are_its_own_affair(small_shop: Shop) -> None:
    """What it does to its own environment does not reach ours."""
    small_shop.app.jinja_env.autoescape = False
    small_shop.app.jinja_env.variable_start_string = "[["
    small_shop.app.jinja_env.globals["url"] = None
    small_shop.recurring("<b>x</b>")
    page = small_shop.client.get("/hangfire/recurring").text
    assert "&lt;b&gt;x&lt;/b&gt;" in page


# -- actions


def test_a_recurring_job_is_triggered_paused_resumed_and_removed(shop: Shop) -> None:
    shop.recurring(HOSTILE)
    basic = {"Authorization": "Basic b3BlcmF0b3I6eA=="}

    def post(action: str, **headers: str) -> Any:
        return shop.client.post(
            f"/hangfire/recurring/{action}?q=alert", data={"id": HOSTILE}, headers=headers
        )

    answer = post("trigger", **basic)
    assert answer.status_code == 303
    (job,) = shop.store.jobs.page(None).items
    assert answer.location == f"/hangfire/recurring?q=alert&told=triggered&job={job.id}"
    assert job.recurring_id == HOSTILE
    shown = shop.client.get(answer.location).text
    assert f'<a href="/hangfire/jobs/details/{job.id}">Job #{job.id}</a>' in shown

    now = post("trigger", **HTMX)
    assert now.status_code == 200
    newest = shop.store.jobs.page(None).items[0]
    assert f'href="/hangfire/jobs/details/{newest.id}">Job #{newest.id}</a>' in now.text
    assert 'class="last-run"' in now.text  # the row, with the new run in it
    assert "<html" not in now.text

    post("pause")
    paused = shop.store.recurring.get(HOSTILE)
    assert paused is not None
    assert paused.paused
    post("resume")
    resumed = shop.store.recurring.get(HOSTILE)
    assert resumed is not None
    assert not resumed.paused
    assert post("remove").location == "/hangfire/recurring?q=alert&told=removed"
    assert shop.store.recurring.get(HOSTILE) is None
    assert post("pause").status_code == 404

    assert shop.audit() == [
        ("127.0.0.1", "recurring.trigger", HOSTILE),
        ("127.0.0.1", "recurring.trigger", HOSTILE),
        ("127.0.0.1", "recurring.pause", HOSTILE),
        ("127.0.0.1", "recurring.resume", HOSTILE),
        ("127.0.0.1", "recurring.remove", HOSTILE),
    ]
    assert f"job {job.id}" in [entry.detail for entry in shop.store.audit.newest()]


def test_from_its_own_page_one_stays_there_unless_it_is_gone(small_shop: Shop) -> None:
    small_shop.recurring(HOSTILE)
    client, data = small_shop.client, {"id": HOSTILE}
    plain = client.post("/hangfire/recurring/pause?back=details", data=data)
    assert plain.location is not None
    assert client.get(plain.location).status_code == 200
    assert "Paused." in client.get(plain.location).text
    live = client.post("/hangfire/recurring/resume?back=details", data=data, headers=HTMX)
    assert "Schedule" in live.text
    gone = client.post("/hangfire/recurring/remove?back=details", data=data, headers=HTMX)
    assert gone.headers["HX-Redirect"] == "/hangfire/recurring?told=removed"


def test_jobs_are_requeued_and_deleted_one_or_many(shop: Shop) -> None:
    jobs = [shop.job(JobState.FAILED, ago=n) for n in range(4)]
    running = shop.job(JobState.PROCESSING)

    def states() -> list[str]:
        found = [shop.store.jobs.get(job) for job in jobs]
        return [job.state.value for job in found if job]

    def post(action: str, named: list[int], query: str = "", **headers: str) -> Any:
        data = {"job": [str(job) for job in named]}
        return shop.client.post(f"/hangfire/jobs/{action}{query}", data=data, headers=headers)

    many = post("requeue", jobs[:2], "?state=failed&queue=mail")
    assert many.status_code == 303
    assert many.location == "/hangfire/jobs/failed?queue=mail&told=requeue-2-2"
    assert "2 jobs put back in the queue." in shop.client.get(many.location).text
    assert states() == ["Enqueued", "Enqueued", "Failed", "Failed"]

    part = post("delete", [jobs[2], 999_999], "?state=failed", **HTMX)
    assert "1 job deleted." in part.text
    assert f'id="job-{jobs[3]}"' in part.text
    assert f'id="job-{jobs[2]}"' not in part.text
    assert states() == ["Enqueued", "Enqueued", "Deleted", "Failed"]

    stopped = post("delete", [running], "?back=job")
    assert stopped.location == f"/hangfire/jobs/details/{running}?told=delete-1-1"
    job = shop.store.jobs.get(running)
    assert job is not None
    assert job.cancel_requested
    assert "asked to stop" in shop.client.get(stopped.location).text

    assert "told=requeue-0-0" in (post("requeue", []).location or "")
    assert "Nothing changed" in post("requeue", [running], **HTMX).text
    assert [entry[1:] for entry in shop.audit()] == [
        ("job.requeue", str(jobs[0])),
        ("job.requeue", str(jobs[1])),
        ("job.delete", str(jobs[2])),
        ("job.delete", str(running)),
    ]


def test_the_signed_in_user_is_the_actor(small_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    class User:
        is_authenticated = True

        def get_id(self) -> str:
            return "ada"

    class Module:
        current_user = User()

    monkeypatch.setitem(__import__("sys").modules, "flask_login", Module)
    small_shop.app.login_manager = object()  # type: ignore[attr-defined]
    small_shop.client.post("/hangfire/recurring/pause", data={"id": "nightly"})
    assert small_shop.audit() == [("ada", "recurring.pause", "nightly")]


def test_every_button_works_without_scripts(small_shop: Shop) -> None:
    """Each is in a form, and leads where its script leads."""
    ids = fill(small_shop)
    for path in (*PAGES, *(f"/hangfire/jobs/details/{job}" for job in ids.values())):
        text = small_shop.client.get(path).text
        for button in re.findall(r"<button[^>]*hx-post[^>]*>", text):
            assert re.search(r'type="submit"', button)
            pair = re.search(r'formaction="([^"]*)" hx-post="([^"]*)"', button)
            assert pair is not None
            assert pair[1] == pair[2]


# -- where it stands


@pytest.mark.parametrize("prefix", ["/hangfire", "/admin/jobs", "/x"])
@pytest.mark.parametrize("script", ["", "/behind/proxy"])
def test_every_address_follows_the_prefix(sqlite_url: str, prefix: str, script: str) -> None:
    with open_shop(sqlite_url, RECURRING_DASHBOARD_URL_PREFIX=prefix) as shop:
        ids = fill(shop)
        for page in ("", "/", "/recurring", "/jobs/failed", f"/jobs/details/{ids['running']}"):
            answer = shop.client.get(prefix + page, environ_overrides={"SCRIPT_NAME": script})
            assert answer.status_code == 200
            for link in Links(answer.text).found:
                assert link.startswith((script + prefix, "/", "#"))
                assert link.startswith((script + prefix, "#")) or link == "/"
        moved = shop.client.post(
            f"{prefix}/recurring/pause",
            data={"id": "nightly"},
            environ_overrides={"SCRIPT_NAME": script},
        )
        assert moved.location == f"{script}{prefix}/recurring?told=paused"


def test_without_its_database_it_says_so_and_heals(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with open_shop(f"sqlite:///{folder}/recurring.sqlite3") as shop:
        for path in PAGES:
            answer = shop.client.get(path)
            assert answer.status_code == 503
            assert "can&#39;t be reached" in answer.text
            assert "Traceback" not in answer.text
            assert str(folder) not in answer.text
            assert "Content-Security-Policy" in answer.headers
            assert shop.fragment(path).status_code == 503
        refused = shop.client.post("/hangfire/recurring/pause", data={"id": "nightly"})
        assert refused.status_code == 503
        assert 'data-again="/hangfire/"' in refused.text
        folder.mkdir()
        assert shop.client.get("/hangfire/").status_code == 200


# -- files


def test_templates_hold_nothing_that_the_policy_forbids() -> None:
    templates = list(assets.templates().rglob("*.html"))
    assert len(templates) > 8
    forbidden = re.compile(
        r"""
        \sstyle\s*=              # dropped by the policy
        | <style
        | <script(?![^>]*\ssrc=)
        | \son[a-z]+\s*=         # inline handlers
        | hx-on
        | js: | javascript:
        | hx-vals='?\s*js
        | hx-trigger="[^"]*\[    # a filter is evaluated
        | https?://              # everything comes from ourselves
        | morph:\{               # evaluated, too
        """,
        re.VERBOSE,
    )
    for template in templates:
        text = re.sub(r"\{#.*?#\}", "", template.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert forbidden.search(text) is None, template
        assert "|safe" not in text.replace("icons[name]|safe", ""), template


def test_own_scripts_evaluate_nothing() -> None:
    for script in assets.static().glob("*.js"):
        text = script.read_text(encoding="utf-8")
        for word in (
            "eval(",
            "new Function",
            "innerHTML =",
            "outerHTML =",
            "insertAdjacentHTML",
            "http:",
        ):
            assert word not in text, script


def test_vendored_files_are_the_ones_that_are_listed() -> None:
    folder = assets.static() / "vendor"
    text = (folder / "VENDORED.md").read_text(encoding="utf-8")
    listed = {
        cells[0]: cells[-1]
        for line in text.splitlines()
        if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 6
        and len(cells[-1]) == 64
    }
    found = {path.name: path for path in folder.iterdir() if path.suffix in assets.TYPES}
    assert set(listed) == set(found)
    for name, path in found.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == listed[name]
    for licence in re.findall(r"\((licenses/[^)]*)\)", text):
        assert (folder / licence).read_text(encoding="utf-8").strip()


# -- what is going on


def test_what_servers_claimed_ahead_is_not_counted_as_running(small_shop: Shop) -> None:
    servers = [small_shop.server(threads=2) for _ in range(2)]
    for number in range(7):
        small_shop.job(JobState.PROCESSING, server_id=servers[number % 2])
    text = small_shop.client.get("/hangfire/").text
    assert re.search(r'id="figure-processing"[^>]*>4</span><span[^>]*> \+3 claimed<', text)
    assert 'title="0 enqueued, 4 running"' in text
    text = small_shop.client.get("/hangfire/jobs/processing").text
    assert "4 run; 3 more are claimed by servers and wait for a free thread" in text


def test_those_that_run_longest_come_first(shop: Shop) -> None:
    jobs = [shop.job(JobState.PROCESSING, ago=10 * n) for n in range(12)]
    text = shop.client.get("/hangfire/").text
    assert re.findall(r'id="running-(\d+)"', text) == [str(job) for job in jobs[:3:-1]]
    assert "longest first" in text
    page = shop.client.get("/hangfire/jobs/processing").text
    assert re.findall(r'<tr id="job-(\d+)"', page) == [str(job) for job in jobs[::-1]]
    assert "Longest running first" in page


def test_a_paused_queue_shows(shop: Shop) -> None:
    waiting = shop.job()
    paths = (
        "/hangfire/",
        "/hangfire/jobs/enqueued?queue=mail",
        f"/hangfire/jobs/details/{waiting}",
    )
    signs = ("Paused queue: ", "Its jobs wait until", "It waits: its queue")
    for path in paths:
        assert not any(words in shop.client.get(path).text for words in signs)
    shop.scheduler.pause_queue("mail")
    shop.changed()
    for path, words in zip(paths, signs, strict=True):
        assert words in shop.client.get(path).text
    assert 'title="This queue is paused"' in shop.client.get("/hangfire/jobs").text
    assert "was paused" not in shop.client.get("/hangfire/jobs/enqueued?queue=other").text
