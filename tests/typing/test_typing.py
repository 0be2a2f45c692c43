"""mypy, strict, over an application's code: silent where it is right, and not where it is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flask_recurring

HERE = Path(__file__).parent
PACKAGE = Path(flask_recurring.__file__).parent
MARK = re.compile(r"  # type: ignore\[.*\]$", re.MULTILINE)

RIGHT = (HERE / "right.py").read_text()
WRONG = (HERE / "wrong.py").read_text()

FILES = {
    "right.py": RIGHT,
    "wrong.py": WRONG,
    "unmarked.py": MARK.sub("", WRONG),
    "revealed.py": WRONG + "\n\nreveal_type(with_context.enqueue)\n",
}


@pytest.fixture(scope="module")
def said(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """What mypy says about each of these files, outside of this project and without its settings.

    All in one run, since most of its time goes into what they import.
    """
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("typing")
    # What mypy found out about Flask and SQLAlchemy is kept for the next time, where pytest keeps
    # anything.
    cache = getattr(request.config, "cache", None)
    kept = folder / "cache" if cache is None else cache.mkdir("mypy")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    result = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"),
            *("--cache-dir", str(kept), *FILES),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(PACKAGE.parent)},
        timeout=300,
    )
    assert result.stderr == ""
    lines = [line for line in result.stdout.splitlines() if ": note: Revealed" in line]
    lines += [line for line in result.stdout.splitlines() if ": error: " in line]
    assert all(line.split(":")[0] in FILES for line in lines), result.stdout
    return {name: [line for line in lines if line.startswith(f"{name}:")] for name in FILES}


def test_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("name", ["right.py", "wrong.py"])
def test_mypy_says_nothing_that_is_not_expected(said: dict[str, list[str]], name: str) -> None:
    assert said[name] == []


def test_mypy_finds_each_mistake(said: dict[str, list[str]]) -> None:
    marked = {number for number, line in enumerate(WRONG.splitlines(), 1) if MARK.search(line)}

    assert {int(error.split(":")[1]) for error in said["unmarked.py"]} == marked
    assert len(marked) > 30


def test_context_is_no_part_of_what_callers_pass(said: dict[str, list[str]]) -> None:
    (revealed,) = said["revealed.py"]

    assert re.search(r"def \(number: (builtins\.)?int, \*, urgent: (builtins\.)?bool =", revealed)
