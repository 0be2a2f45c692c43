"""The structure of the package: imports run one way.

All imports count: also those inside of functions, and those that only a type checker reads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from flask_recurring.job import JobState

PACKAGE = "flask_recurring"
ROOT = Path(__file__).parents[1]


def _modules() -> dict[str, Path]:
    found = {}
    for path in (ROOT / PACKAGE).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()
"""All modules of the package by their dotted names."""

LAYERS = (
    {"errors", "version", "_random"},
    {"_checks"},
    {"_log", "cron", "job", "retry"},
    {"_arguments", "_recurring"},
    {"_store"},
    {"_run"},
    {"task"},
    {"_server"},
    {"_flask"},
    {"_dashboard"},
    {"scheduler"},
    {"__init__"},
)
"""What stands at the package's root. Each imports only what stands above it in this list."""


def imports(module: str) -> Iterator[str]:
    """The modules of the package that a module imports, anywhere in it."""
    path = MODULES[module]
    base = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            package = base[: len(base) - node.level + 1] if node.level else []
            source = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{source}.{alias.name}"
                if name in MODULES or source in MODULES:
                    yield name if name in MODULES else source


def test_no_imports_go_in_a_ring() -> None:
    sorter = TopologicalSorter({name: {*imports(name)} - {name} for name in MODULES})
    try:
        sorter.prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def room(module: str) -> str:
    """What stands at the package's root and holds the module."""
    return [*module.split("."), "__init__"][1]


def layer(module: str) -> int:
    return next(number for number, rooms in enumerate(LAYERS) if room(module) in rooms)


@pytest.mark.parametrize("name", sorted({room(module) for module in MODULES}))
def test_imports_run_one_way(name: str) -> None:
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        if room(module) == name
        for other in imports(module)
        if room(other) != name and layer(other) >= layer(module)
    ]
    assert not wrong


STATE = re.compile("|".join(rf"'{state}'|^{state}$" for state in JobState))
"""A state as a value by itself, or as it stands in SQL."""


def test_states_are_named_in_one_place() -> None:
    named = {f"{PACKAGE}.job", f"{PACKAGE}._store.transitions"}
    wrong = [
        f"{module}:{node.lineno} says {node.value!r}"
        for module in MODULES.keys() - named
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and STATE.search(node.value)
    ]
    assert not wrong


def _drawn() -> Iterator[str]:
    """The paths of the tree in docs/design.md: its files, and its folders with a slash."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    tree = text.partition("## Where things live")[2].partition("```text\n")[2].partition("```")[0]
    above: list[str] = []
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        above[depth:] = [name]
        yield "".join(above)


def test_the_design_draws_the_tree() -> None:
    paths = [path.relative_to(ROOT) for path in MODULES.values()]
    real = {f"{path.parent.as_posix()}/" for path in paths}
    real |= {path.as_posix() for path in paths if path.name != "__init__.py"}
    drawn = [*_drawn()]
    missing, gone = real.difference(drawn), set(drawn).difference(real)
    assert not missing, f"docs/design.md, Where things live: add lines for {sorted(missing)}"
    assert not gone, f"docs/design.md, Where things live: remove the lines of {sorted(gone)}"
    assert len(drawn) == len(real), "docs/design.md, Where things live: a file has two lines"


LONGEST = 300
"""Lines that a file may have."""


def test_files_are_short() -> None:
    lines = {
        name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()
    }
    long = {name: count for name, count in lines.items() if count > LONGEST}
    assert not long, f"{long}: find the second noun"
