"""The README and the documentation: what they print works, and what they link to is there."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import click
import pytest

import flask_recurring
from flask_recurring._flask.cli import commands
from flask_recurring._flask.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGES.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

NOT_RUN = "<!-- not run -->"
"""Before a block of Python that needs what the tests have not: it is compiled only."""

RUNNER = Path(__file__).parent / "data" / "docs_runner.py"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    runs: bool

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(name: str) -> Iterator[Block]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    opened: int | None = None
    for index, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if opened is None:
            opened = index
            continue
        before = lines[opened - 1].strip() if opened else ""
        yield Block(
            page=name,
            line=opened + 2,
            language=lines[opened].removeprefix("```").strip(),
            text="\n".join(lines[opened + 1 : index]) + "\n",
            runs=before != NOT_RUN,
        )
        opened = None
    assert opened is None, f"{name}: the block that begins in line {opened} has no end"


def of_language(*languages: str) -> list[Block]:
    return [block for name in NAMES for block in blocks(name) if block.language in languages]


def prose(name: str) -> str:
    """The page without its fenced blocks."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", of_language("python"), ids=lambda block: block.place)
def test_python_compiles(block: Block) -> None:
    compile("\n" * (block.line - 1) + block.text, block.page, "exec")


@pytest.mark.processes
@pytest.mark.parametrize("name", NAMES)
def test_python_runs(name: str, tmp_path: Path) -> None:
    """All blocks of a page run one after the other, and then every job that they enqueued."""
    found = [block for block in blocks(name) if block.language == "python" and block.runs]
    if not found:
        return
    page = [{"line": block.line, "text": block.text} for block in found]
    (tmp_path / "page.json").write_text(json.dumps({"name": name, "blocks": page}))
    result = subprocess.run(
        [sys.executable, "-W", "error", RUNNER, tmp_path / "page.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_sessions_answer_what_they_say(name: str) -> None:
    names: dict[str, object] = {}
    for block in blocks(name):
        if block.language == "pycon":
            test = doctest.DocTestParser().get_doctest(block.text, {}, name, name, block.line - 1)
            test.globs = names
            said: list[str] = []
            doctest.DocTestRunner().run(test, out=said.append, clear_globs=False)
            assert not said, "".join(said)


def called(block: Block) -> Iterator[list[str]]:
    """The calls of `flask recurring …` in a block of shell commands, each as its words after it."""
    text = block.text.replace("\\\n", " ")
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if "recurring" in words and any(word.split("/")[-1] == "flask" for word in words):
            after = words[words.index("recurring") + 1 :]
            yield after[: after.index("|")] if "|" in after else after


@pytest.mark.parametrize("block", of_language("sh"), ids=lambda block: block.place)
def test_commands_take_what_they_are_given(block: Block) -> None:
    for words in called(block):
        with click.Context(commands) as context:
            command = commands.get_command(context, words[0])
            assert command is not None, f"{block.place}: there is no command {words[0]!r}"
            if "--help" not in words:
                command.make_context(words[0], words[1:], parent=context)


@pytest.mark.parametrize("name", NAMES)
def test_settings_exist(name: str) -> None:
    known = {f"RECURRING_{field.name.upper()}" for field in fields(Settings)}
    text = (ROOT / name).read_text(encoding="utf-8")
    for setting in set(re.findall(r"RECURRING_[A-Z_]+[A-Z](?![A-Z_…])", text)):
        assert setting in known or setting.startswith("RECURRING_TEST_"), setting


def anchors(page: Path) -> set[str]:
    """What a `#` can lead to, as GitHub names it."""
    headings = re.findall(r"^#+ (.+)$", prose(page.relative_to(ROOT).as_posix()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(name)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{name} links to {target}, which is not there"
        if anchor:
            assert anchor in anchors(linked), f"{name} links to {target}, which has no such heading"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index, f"{page.name} is not linked"


def test_everything_public_is_in_the_reference() -> None:
    reference = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in flask_recurring.__all__:
        assert re.search(rf"`{name}\b", reference), f"docs/api.md does not tell of {name}"


def test_every_command_is_described() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name in commands.commands:
        assert f"`{name}" in page, f"docs/cli.md does not tell of {name}"


def test_two_commands_start_and_test() -> None:
    """One block starts the example; the other, which CI runs as it stands, tests everything."""
    shell = [block for block in blocks("README.md") if block.language == "sh"]
    first = shell[0].text
    assert "python3 -m venv .venv" in first
    assert "flask --app example_app run" in first

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    marked = re.findall(r"^<!-- test-command -->\n```sh\n(.+?)^```$", text, re.MULTILINE | re.S)
    assert len(marked) == 1
    assert "python3 -m venv .venv" in marked[0]
    assert marked[0].rstrip().endswith("pytest")
