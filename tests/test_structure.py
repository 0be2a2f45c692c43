"""The structure of the package: imports run one way.

All imports count: also those inside of functions, and those that only a type checker reads.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

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

BELOW = {
    "store": {"server", "binding", "extension", "cli", "dashboard"},
    "server": {"binding", "extension", "cli", "dashboard"},
    "binding": {"commands", "extension", "cli", "dashboard"},
    "dashboard": {"extension", "cli"},
    "cli": {"extension", "dashboard"},
}
"""What the parts of the package must not import: whatever stands above them."""


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


@pytest.mark.parametrize("part", BELOW)
def test_imports_run_one_way(part: str) -> None:
    own = [name for name in MODULES if name.split(".")[1:2] == [part]]
    assert own
    wrong = [
        f"{name} imports {other}"
        for name in own
        for other in imports(name)
        if {*other.split(".")[1:2]} & BELOW[part]
    ]
    assert not wrong
