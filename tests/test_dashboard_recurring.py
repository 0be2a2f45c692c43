"""A recurring job's own page, and the editor: what they show, take, refuse and write down."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from flask_recurring import Access, JobState
from flask_recurring._recurring.recurring_job import RecurringJob
from tests.dashboard import HTMX, Shop, open_shop
from tests.store.samples import definition

DETAILS = "/hangfire/recurring/details?id=nightly"
EDIT = "/hangfire/recurring/edit"


@pytest.fixture
def shop(database_url: str) -> Iterator[Shop]:
    with open_shop(database_url) as opened:
        opened.scheduler.binding.define()
        yield opened


@pytest.fixture
def small_shop(sqlite_url: str) -> Iterator[Shop]:
    """A shop for what has nothing to do with the kind of database."""
    with open_shop(sqlite_url) as opened:
        opened.scheduler.binding.define()
        yield opened


class Form(HTMLParser):
    """The editor's form as a browser would send it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in given:
            self.values[self._select] = given.get("value") or ""
        elif tag == "input" and name and (given.get("type") != "checkbox" or "checked" in given):
            self.values[name] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""


def form(shop: Shop, id: str = "nightly") -> dict[str, str]:
    """The form as it stands."""
    return Form(shop.client.get(EDIT, query_string={"id": id}).text).values


def send(shop: Shop, id: str = "nightly", **changes: str | None) -> TestResponse:
    """Fill the form in and send it; None is a box without its tick."""
    values = form(shop, id) | changes
    return shop.client.post(EDIT, data={k: v for k, v in values.items() if v is not None})


def stored(shop: Shop, id: str = "nightly") -> RecurringJob:
    found = shop.store.recurring.get(id)
    assert found is not None
    return found


def error_at(text: str, name: str) -> str:
    """The error that stands beside a field."""
    found = re.search(rf'id="e-{name}"[^>]*>([^<]*)<', text)
    assert found is not None
    return html.unescape(found[1])


# -- the page


def test_the_last_runs_are_bars_that_tell_and_lead_on(shop: Shop) -> None:
    long = shop.run("nightly", 90, ago=7200, late=2)
    short = shop.run("nightly", 1, ago=3600)
    failed = shop.job(JobState.FAILED, ago=1800, recurring_id="nightly")
    shop.tick("nightly", ago=1800, job_id=failed)
    shop.tick("nightly", "skipped", ago=1200, reason="the run before was still going")
    shop.tick("nightly", "missed", ago=900, reason="no server was running")
    by_hand = shop.job(JobState.PROCESSING, recurring_id="nightly")
    shop.tick("nightly", "triggered", ago=60, job_id=by_hand, reason="by Ann")
    text = shop.client.get(DETAILS).text
    bars = re.findall(r'<li class="runbar ([^"]*)">(.*?)</li>', text, re.DOTALL)[::-1]
    assert [kinds for kinds, _ in bars] == [
        "is-succeeded",
        "is-succeeded",
        "is-failed",
        "is-skipped",
        "is-missed",
        "is-processing is-by-hand",
    ]
    for (_, bar), job in zip(bars, (long, short, failed, None, None, by_hand), strict=True):
        assert (f'href="/hangfire/jobs/details/{job}"' in bar) == (job is not None)
        assert 'tabindex="0"' in bar or "<a href" in bar
        assert "<time " in bar
    assert "1&#160;min&#160;30&#160;s" in bars[0][1] or "1\u00a0min\u00a030\u00a0s" in bars[0][1]
    heights = [float(re.findall(r'height="([\d.]+)"', bar)[0]) for _, bar in bars]
    assert heights[0] == 100.0 > heights[1] > heights[3] == heights[4]
    for words in (
        "Skipped</span>",
        "the run before was still going",
        "Missed</span>",
        "no server was running",
        'triggered <bdi class="name">by Ann</bdi>',
    ):
        assert words in text
    figures = re.findall(r"<dt>([\w ]+)</dt><dd>([^<]+)<", text)
    assert ("Ran for", "1.0\u00a0s ") in figures
    assert ("Measured", "4 ") in figures


def test_a_job_that_is_gone_is_no_link(small_shop: Shop) -> None:
    small_shop.tick("nightly", ago=60, job_id=4711)
    text = small_shop.client.get(DETAILS).text
    assert "details/4711" not in text
    assert "is-gone" in text


def test_the_next_ticks_in_the_zone_of_the_job_and_of_the_viewer(shop: Shop) -> None:
    text = shop.client.get(DETAILS).text
    rows = re.findall(
        r'coming-clock">([\d:]+)</span> <span class="coming-zone">(\w+)</span>'
        r'.*?data-time="hours">([\d:]+)<',
        text,
        re.DOTALL,
    )
    assert len(rows) == 5
    for clock, zone, utc in rows:
        assert clock == "03:00:00"
        assert utc == {"CET": "02:00:00", "CEST": "01:00:00"}[zone]
    assert "data-viewer-zone" in text


def test_an_orphan_says_so(shop: Shop) -> None:
    row = shop.store.database.tables.recurring_job
    with shop.store.database.begin() as connection:
        values = {"orphaned_at": shop.store.now() - timedelta(hours=5), "next_at": None}
        connection.execute(sa.update(row).values(**values))
    for path in (DETAILS, "/hangfire/recurring", f"{EDIT}?id=nightly"):
        assert "Orphaned" in shop.client.get(path).text
    assert 'class="coming"' not in shop.client.get(DETAILS).text


def test_the_page_is_not_sent_again_while_nothing_happens(small_shop: Shop) -> None:
    small_shop.run("nightly", ago=60)
    statuses = []
    for _ in range(4):
        first = small_shop.fragment(DETAILS)
        tag = {"If-None-Match": first.headers["ETag"]}
        statuses.append(small_shop.fragment(DETAILS, **tag).status_code)
    assert 304 in statuses


# -- the editor


def test_what_is_not_changed_is_not_written(shop: Shop) -> None:
    before = stored(shop)
    answer = send(shop)
    assert answer.location == "/hangfire/recurring/details?id=nightly"
    assert stored(shop) == before
    assert not shop.audit()


def test_an_operator_s_values_are_saved_shown_beside_the_code_s_and_reset(shop: Shop) -> None:
    basic = {"Authorization": "Basic b3BlcmF0b3I6eA=="}
    values = form(shop) | {
        "cron": "*/30 * * * *",
        "jitter": "5m",
        "overlap": "queue",
        "retry": "10s, 1m",
        "keep": "20",
        "paused": "yes",
    }
    saved = shop.client.post(EDIT, data=values, headers=basic)
    assert saved.location == "/hangfire/recurring/details?id=nightly&told=saved"
    job = stored(shop)
    assert (job.cron, job.jitter, job.overlap) == ("*/30 * * * *", timedelta(minutes=5), "queue")
    assert (job.keep, job.paused, job.next_at) == (20, True, None)
    assert job.timezone == "Europe/Vienna"
    assert set(job.overrides) == {"cron", "jitter", "overlap", "retry", "keep", "paused"}
    shown = shop.client.get(saved.location).text
    assert "It stays through deployments" in shown
    assert 'In the code: <code class="cron">0 3 * * *</code>' in shown
    assert "code: <bdi>run both at once</bdi>" in shown
    assert "code: <bdi>as long as other jobs</bdi>" in shown
    assert "edited" in shop.client.get("/hangfire/recurring").text
    editor = shop.client.get(f"{EDIT}?id=nightly").text
    assert editor.count("In the code:") == 6
    assert form(shop)["retry"] == "10s, 1m"

    one = shop.client.post(
        "/hangfire/recurring/reset?option=cron", data={"id": "nightly"}, headers=basic
    )
    assert one.location == "/hangfire/recurring/details?id=nightly&told=reset"
    assert (stored(shop).cron, stored(shop).keep) == ("0 3 * * *", 20)
    rest = shop.client.post(
        "/hangfire/recurring/reset", data={"id": "nightly"}, headers=basic | HTMX
    )
    assert "what the code declares counts again" in rest.text
    assert stored(shop).overrides == {}
    assert not stored(shop).paused
    assert shop.audit() == [
        ("127.0.0.1", "recurring.override", "nightly"),
        ("127.0.0.1", "recurring.reset", "nightly"),
        ("127.0.0.1", "recurring.reset", "nightly"),
    ]
    told = shop.store.audit.newest()[-1].detail
    assert "cron: None → '*/30 * * * *'" in told
    assert "paused: False → True" in told


def test_what_is_saved_stays_through_deployments(shop: Shop) -> None:
    send(shop, cron="15 4 * * *", timezone="Asia/Tokyo")
    later = {"task": "shop.tidy", "cron": "0 5 * * *", "timezone": "Europe/Rome"}
    shop.store.recurring.declare([definition(**later, keep=7)], "shop")
    job = stored(shop)
    assert (job.cron, job.timezone, job.keep) == ("15 4 * * *", "Asia/Tokyo", 7)
    shown = shop.client.get(DETAILS).text
    assert '<code class="cron">0 5 * * *</code>' in shown
    assert '<code class="cron">Europe/Rome</code>' in shown
    shop.client.post("/hangfire/recurring/reset", data={"id": "nightly"})
    job = stored(shop)
    assert (job.cron, job.timezone, job.keep) == ("0 5 * * *", "Europe/Rome", 7)


def test_the_code_s_value_typed_again_is_a_reset(shop: Shop) -> None:
    send(shop, cron="15 4 * * *", keep="5")
    send(shop, cron="0 3 * * *")
    assert set(stored(shop).overrides) == {"keep"}
    send(shop, keep="")
    assert stored(shop).overrides == {}


def test_both_values_are_shown_as_one_reads_them(small_shop: Shop) -> None:
    small_shop.recurring("daily", "0 6 * * TUE", timezone="America/Toronto", misfire="all")
    send(small_shop, "daily", cron="@daily", timezone="UTC", misfire="skip")
    send(small_shop, "daily", start="2031-01-02T03:04", paused="yes")
    text = small_shop.client.get("/hangfire/recurring/details?id=daily").text
    for words in (
        '<code class="cron">0 6 * * TUE</code>',
        '<code class="cron">America/Toronto</code>',
        "code: <bdi>catch up on every one</bdi>",
        "2031-01-02 03:04:00",
        "code: <bdi>no limit</bdi>",
    ):
        assert words in text


def test_a_reset_in_the_form_is_part_of_what_is_saved(shop: Shop) -> None:
    send(shop, cron="15 4 * * *", keep="5", paused="yes")
    typed = form(shop) | {"jitter": "5m", "reset": "cron"}
    draft = shop.client.get(EDIT, query_string=typed).text
    assert "At 03:00" in draft
    assert "not saved yet" in draft
    assert stored(shop).cron == "15 4 * * *"
    shop.client.post(EDIT, data=Form(draft).values)
    assert stored(shop).cron == "0 3 * * *"
    assert stored(shop).jitter == timedelta(minutes=5)
    assert set(stored(shop).overrides) == {"keep", "jitter", "paused"}
    everything = shop.client.get(EDIT, query_string=form(shop) | {"reset": "all"}).text
    shop.client.post(EDIT, data=Form(everything).values)
    assert stored(shop).overrides == {}
    assert not stored(shop).paused


def test_two_who_edit_at_once_keep_each_other_s_changes(shop: Shop) -> None:
    mine = form(shop) | {"keep": "5"}
    send(shop, cron="15 4 * * *")
    shop.client.post(EDIT, data=mine)
    assert (stored(shop).cron, stored(shop).keep) == ("15 4 * * *", 5)


def test_the_box_that_pauses(shop: Shop) -> None:
    send(shop, paused="yes")
    assert stored(shop).paused
    assert form(shop)["paused"] == "yes"
    send(shop, keep="5")
    assert stored(shop).paused
    send(shop, paused=None)
    assert not stored(shop).paused


@pytest.mark.parametrize(
    ("changes", "blamed", "message"),
    [
        ({"cron": "61 * * * *"}, "cron", "the field Minutes is wrong"),
        ({"cron": "0 0 30 2 *"}, "cron", "never fires"),
        ({"cron": "@every 1 fortnight"}, "cron", "is no interval"),
        ({"timezone": "Mars/Olympus"}, "timezone", "'Mars/Olympus' is not known"),
        ({"start": "2031-01-02T00:00", "end": "2031-01-01T00:00"}, "end", "before start"),
        ({"cron": "0 0 1 1 *", "start": "2031-01-02T00:00", "end": "2031-02-01T00:00"}, "cron",
         "never fires between"),
        ({"start": "0001-01-01T00:00:00"}, "start", "between the years"),
        ({"end": "31.12.2031"}, "end", "is no date with a time"),
        ({"timezone": "\0"}, "timezone", "is not known"),
        ({"cron": "9" * 400}, "cron", "Cron expression"),
        ({"retry": "10s,,1m"}, "retry", "neither a number of retries"),
        ({"jitter": "-1"}, "jitter", "is no length of time"),
        ({"keep": "none"}, "keep", "whole number"),
        ({"queue": "Two words"}, "queue", "is not a queue's name"),
        ({"overlap": "<script>"}, "overlap", "must be one of"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_beside_their_fields_and_kept(
    small_shop: Shop, changes: dict[str, str], blamed: str, message: str
) -> None:
    before = stored(small_shop)
    answer = send(small_shop, **changes, misfire_limit="7")
    assert answer.status_code == 422
    assert message in error_at(answer.text, blamed)
    typed = Form(answer.text).values
    for name, text in changes.items():
        if name != "overlap":
            assert typed[name] == text
    assert typed["misfire_limit"] == "7"
    assert stored(small_shop) == before
    assert not small_shop.audit()
    assert "<script>" not in answer.text.replace("<script src", "")
    # Sent again as it came back, but for what was wrong, it is taken.
    right = {name: form(small_shop)[name] for name in changes}
    assert small_shop.client.post(EDIT, data=typed | right).status_code == 303
    assert stored(small_shop).misfire_limit == 7


def test_the_preview_says_what_would_be_and_saves_nothing(shop: Shop) -> None:
    asked = form(shop) | {"cron": "0 12 * * MON", "timezone": "Asia/Tokyo"}
    part = shop.client.get(EDIT, query_string=asked, headers=HTMX).text
    assert "<html" not in part
    assert "At 12:00, only on Monday" in part or "Monday" in part
    assert part.count('class="coming-zone">JST') == 5
    assert "not saved yet" in part
    asked["cron"] = "* * * *"
    part = shop.client.get(EDIT, query_string=asked, headers=HTMX).text
    assert "'* * * *'" in error_at(part, "cron")
    assert 'class="coming"' not in part
    assert stored(shop).cron == "0 3 * * *"


def test_whole_and_wrong_addresses(small_shop: Shop) -> None:
    whole = small_shop.client.get(EDIT, query_string={"id": "nightly", "cron": "@hourly"})
    assert "Every hour" in whole.text
    assert small_shop.client.get(f"{EDIT}?id=unknown").status_code == 404
    assert small_shop.client.post(EDIT, data={"id": "unknown", "cron": "x"}).status_code == 404
    reset = "/hangfire/recurring/reset"
    assert small_shop.client.post(reset, data={"id": "unknown"}).status_code == 404
    assert small_shop.client.post(f"{reset}?option=id", data={"id": "nightly"}).status_code == 400


def test_readers_do_not_edit(sqlite_url: str) -> None:
    read = [lambda request: Access.READ]
    with open_shop(sqlite_url, RECURRING_DASHBOARD_AUTHORIZATION=read) as shop:
        with shop.app.app_context():
            shop.scheduler.override("nightly", keep=5)
        shown = shop.client.get(DETAILS).text
        assert "as long as other jobs" in shown
        assert "/edit" not in shown
        assert "/reset" not in shown
        assert shop.client.get(f"{EDIT}?id=nightly").status_code == 403
        data: dict[str, Any] = {"id": "nightly", "cron": "@hourly"}
        assert shop.client.post(EDIT, data=data).status_code == 403
        assert shop.client.post("/hangfire/recurring/reset", data=data).status_code == 403
        assert stored(shop).overrides == {"keep": 5}


def test_actions_of_the_editor_come_from_our_own_pages(small_shop: Shop) -> None:
    evil = {"Origin": "http://evil.example"}
    for path in (EDIT, "/hangfire/recurring/reset"):
        data = {"id": "nightly", "cron": "@hourly"}
        assert small_shop.client.post(path, data=data, headers=evil).status_code == 403
    assert stored(small_shop).cron == "0 3 * * *"


def test_what_a_newer_version_wrote_is_shown_as_far_as_it_is_known(small_shop: Shop) -> None:
    row = small_shop.store.database.tables.recurring_job
    fields = '{"task":"shop.tidy","arguments":"[[],{}]","queue":"default","priority":0,'
    declared = fields + '"cron":"@moonrise","timezone":"Mars/Olympus","orbit":3}'
    with small_shop.store.database.begin() as connection:
        values = {"cron": "@moonrise", "timezone": "Mars/Olympus", "declared": declared}
        connection.execute(sa.update(row).values(**values))
    for path in (DETAILS, f"{EDIT}?id=nightly"):
        answer = small_shop.client.get(path)
        assert answer.status_code == 200
        assert "@moonrise" in answer.text
