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
