"""The example application, as its reader starts it: real processes, and a real browser."""

from __future__ import annotations

import json
import re
import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import make_url

from example_app.connection import ConnectionFactory
from tests.postgres import Cluster
from tests.processes import Process, Spawn, free_port
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parent.parent

# Nothing that the developer's own shell may say.
CLEAN: dict[str, str | None] = {
    "DATABASE_URL": None,
    "DATABASE_PASSWORD_FILE": None,
    "FLASK_APP": None,
    "FLASK_DEBUG": None,
}

pytestmark = pytest.mark.processes


class Shop:
    """The example application, served by ``flask run`` in a process of its own."""

    def __init__(self, folder: Path, env: dict[str, str | None]) -> None:
        self.folder = folder
        self.env = CLEAN | env
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "flask", "--app", "example_app", "run"]
        self.process = Process(
            [*command, "--port", str(self.port)],
            log=folder / "shop.log",
            env=self.env,
            cwd=folder,
        )

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def order(self, customer: str, **headers: str) -> str:
        """Send the form; returns the page that it leads to."""
        form = urllib.parse.urlencode({"customer": customer, "item": "Hip flask"}).encode()
        request = urllib.request.Request(f"{self.url}/orders", form, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def state(self, customer: str) -> str | None:
        """What the page says about the customer's order."""
        found = re.search(
            rf"<td>{customer}</td>\s*<td>Hip flask</td>\s*<td><a class=\"state.*?>(\w+)</a>",
            self.get("/orders"),
        )
        return None if found is None else found[1]

    def wait_for_mail(self, customer: str) -> None:
        wait_for(lambda: self.state(customer) == "Mailed", 30, self.process.output)

    def run(self, *arguments: str) -> str:
        """Run a command of the application to its end; returns what it printed."""
        command = [sys.executable, *arguments]
        log = self.folder / "command.log"
        with Process(command, log=log, env=self.env, cwd=self.folder) as process:
            assert process.wait(60) == 0, process.output()
            return process.output()

    def jobs(self, task: str) -> list[dict[str, Any]]:
        """The jobs of a task that the command line lists."""
        printed = self.run(
            *("-m", "flask", "--app", "example_app", "recurring", "jobs", "--json"),
            *("--task", f"example_app.jobs.{task}"),
        )
        found: list[dict[str, Any]] = json.loads(printed)
        return found


def copy_of_example(folder: Path) -> Path:
    """The package in a folder of its own, so that its instance folder is there too."""
    shutil.copytree(
        ROOT / "example_app",
        folder / "example_app",
        ignore=shutil.ignore_patterns("__pycache__", "instance"),
    )
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The example without any setup: jobs and orders in a SQLite file."""
    running = Shop(copy_of_example(tmp_path_factory.mktemp("shop")), {})
    with running.process:
        running.process.wait_for_port(running.port)
        yield running


def test_needs_no_setup(shop: Shop) -> None:
    assert shop.get("/healthz") == "ok\n"
    page = shop.get("/")
    assert 'href="/hangfire/"' in page
    for asset in re.findall(r'(?:href|src)="(/static/[^"]+)"', page):
        assert shop.get(asset)
    assert (shop.folder / "instance" / "shop.sqlite3").exists()


def test_order_is_confirmed_by_a_job(shop: Shop) -> None:
    assert "Ada" in shop.order("Ada")

    shop.wait_for_mail("Ada")
    (job,) = (job for job in shop.jobs("mail.confirm_order") if job["state"] == "Succeeded")
    assert job["queue"] == "mail"
    console = shop.get(f"/hangfire/jobs/details/{job['id']}/console.txt")
    assert "Dear Ada, thank you for ordering Hip flask." in console
    assert "[talking to the mail server] 100" in console


def test_order_from_another_site_is_refused(shop: Shop) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403"):
        shop.order("Mallory", Origin="https://elsewhere.example")

    assert "Mallory" not in shop.get("/")
    assert "Grace" in shop.order("Grace", Origin=shop.url)


def test_my_job_writes_its_two_lines(shop: Shop) -> None:
    def finished() -> dict[str, Any] | None:
        return next((j for j in shop.jobs("my_job.my_job") if j["state"] == "Succeeded"), None)

    job = wait_for(finished, 30, shop.process.output)

    assert job is not None
    assert job["recurring_id"] == "my-job"
    console = shop.get(f"/hangfire/jobs/details/{job['id']}/console.txt")
    assert re.findall(r"Job \w+", console) == ["Job started", "Job finished"]


def test_flaky_job_is_tried_again(shop: Shop) -> None:
    def tried() -> dict[str, Any] | None:
        return next((j for j in shop.jobs("rates.fetch_rates") if j["state"] == "Succeeded"), None)

    job = wait_for(tried, 60, shop.process.output)

    assert job is not None
    assert set(job["result"]) == {"USD", "CHF"}
    assert 1 <= job["attempt"] <= 4


def test_maintenance_deletes_old_jobs(shop: Shop) -> None:
    shop.order("Linus")
    shop.wait_for_mail("Linus")
    assert shop.jobs("mail.confirm_order")

    shop.run(
        "-c",
        "from datetime import timedelta\n"
        "from example_app import create_app\n"
        "from example_app.jobs.maintenance import delete_old_jobs\n"
        "with create_app().app_context():\n"
        "    delete_old_jobs.enqueue(keep=timedelta(0))\n",
    )

    def purged() -> dict[str, Any] | None:
        # Not the recurring run, which keeps them for hours.
        jobs = shop.jobs("maintenance.delete_old_jobs")
        done = (job for job in jobs if job["recurring_id"] is None)
        return next((job for job in done if job["state"] == "Succeeded"), None)

    job = wait_for(purged, 30, shop.process.output)
    assert job is not None
    assert job["result"] >= 1
    console = shop.get(f"/hangfire/jobs/details/{job['id']}/console.txt")
    assert "jobs that were done for 0:00:00" in console
    assert not shop.jobs("mail.confirm_order")


def test_processes_that_start_together(database_url: str, spawn: Spawn) -> None:
    env = CLEAN | {"DATABASE_URL": database_url}
    command = [sys.executable, "-m", "flask", "--app", "example_app", "recurring", "init-db"]

    processes = [spawn(command, env=env, cwd=ROOT) for _ in range(4)]

    for process in processes:
        assert process.wait(60) == 0, process.output()
        assert process.output().startswith("Ready: ")


def test_password_that_changes(private_postgres: Cluster, tmp_path: Path) -> None:
    private_postgres.execute("CREATE ROLE shop LOGIN PASSWORD 'first'")
    private_postgres.execute("CREATE DATABASE shop OWNER shop")
    hba = Path(private_postgres.execute("SHOW hba_file")[0][0])
    hba.write_text(f"host all shop all scram-sha-256\n{hba.read_text()}")
    private_postgres.execute("SELECT pg_reload_conf()")
    password_file = tmp_path / "password"
    password_file.write_text("first\n")
    url = f"postgresql://shop@127.0.0.1:{private_postgres.port}/shop"
    connect = ConnectionFactory(make_url(url), str(password_file))
    wait_for(lambda: needs_password(url), message="the server asking for passwords")
    env: dict[str, str | None] = {
        "DATABASE_URL": url,
        "DATABASE_PASSWORD_FILE": str(password_file),
    }

    with ExitStack() as stack:
        shop = Shop(copy_of_example(tmp_path), env)
        stack.enter_context(shop.process)
        shop.process.wait_for_port(shop.port)
        shop.order("Ada")
        shop.wait_for_mail("Ada")

        private_postgres.execute("ALTER ROLE shop PASSWORD 'second'")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect()
        password_file.write_text("second\n")
        private_postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop'"
        )
        wait_for(lambda: healthy(shop), 30, shop.process.output)
        shop.order("Grace")
        shop.wait_for_mail("Grace")


def needs_password(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError as error:
        return "no password supplied" in str(error)
    return False


def healthy(shop: Shop) -> bool:
    try:
        return shop.get("/healthz") == "ok\n"
    except urllib.error.HTTPError:
        return False


@pytest.mark.browser
def test_trigger_and_watch_the_console_grow(shop: Shop, page: Page) -> None:
    page.goto(f"{shop.url}/")
    page.get_by_role("link", name="Dashboard", exact=True).click()
    page.goto(f"{shop.url}/hangfire/recurring")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="my-job", exact=True))
    row.get_by_role("button", name="Trigger now").click()
    notice = page.locator("[data-toast]").filter(has_text="Triggered my-job")
    notice.get_by_role("link").click()

    console = page.locator("#console")
    expect(console.get_by_text("Job started")).to_be_visible()
    # It runs for two seconds more. If the page were loaded anew, this mark would be gone.
    page.evaluate("document.documentElement.dataset.untouched = 'yes'")
    expect(console.get_by_text("Job finished")).to_have_count(0)
    expect(console.get_by_text("Job finished")).to_be_visible()
    expect(page.locator(".page-head")).to_contain_text("Succeeded")
    assert page.evaluate("document.documentElement.dataset.untouched") == "yes"


@pytest.mark.browser
def test_order_appears_and_is_confirmed_without_a_reload(shop: Shop, page: Page) -> None:
    page.goto(f"{shop.url}/")
    page.get_by_label("Your name").fill("Barbara")
    page.get_by_label("Item").select_option("Thermos flask")
    page.get_by_role("button", name="Order").click()

    row = page.get_by_role("row").filter(has_text="Barbara")
    expect(row).to_contain_text("Thermos flask")
    expect(row).to_contain_text("Mailed")
