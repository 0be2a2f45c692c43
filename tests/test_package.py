"""The package as one installs it: built, installed away from its source, and opened."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parent.parent

PROBE = """
import json
import re
import sys

import flask
import flask_recurring
from flask_recurring import AllowAll, Scheduler

app = flask.Flask("probe", instance_path=sys.argv[1])
app.config.update(
    SECRET_KEY="probe",
    RECURRING_DATABASE_URL=f"sqlite:///{sys.argv[1]}/probe.sqlite3",
    RECURRING_WORKER_ENABLED=False,
    RECURRING_DASHBOARD_AUTHORIZATION=[AllowAll()],
)
Scheduler(app)
client = app.test_client()
page = client.get("/hangfire/")
assets = re.findall(r'(?:href|src)="([^"]+[.](?:css|js|svg)(?:[?][^"]*)?)"', page.text)
print(json.dumps({
    "package": flask_recurring.__file__,
    "page": page.status_code,
    "title": "<title>" in page.text,
    "assets": {asset: client.get(asset).status_code for asset in assets},
}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command to its end, and return what it printed."""
    result = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, f"{command} failed:\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was built from it alone."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (found,) = distributions.glob("*.whl")
    return found


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"flask_recurring"}
    assert "flask_recurring/py.typed" in names
    for folder in ("templates", "static"):
        expected = {
            f"flask_recurring/{file.relative_to(ROOT)}"
            for file in (ROOT / folder).rglob("*")
            if file.is_file()
        }
        assert expected, f"{folder} is empty"
        assert expected <= set(names)


def test_dashboard_opens_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # What we depend on comes from here. The path files in that folder, such as the one of an
    # editable install, are not read from there, so our own source does not come along.
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    probe = tmp_path / "probe.py"
    probe.write_text(PROBE)
    instance = tmp_path / "instance"
    instance.mkdir()

    seen = json.loads(run(python, "-I", probe, instance, cwd=tmp_path))

    assert Path(seen["package"]).is_relative_to(packages)
    assert seen["page"] == 200
    assert seen["title"]
    assert seen["assets"], "the page links no stylesheet and no script"
    assert set(seen["assets"].values()) == {200}, seen["assets"]
