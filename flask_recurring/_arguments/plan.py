"""Which parameter takes which value, for every call of one shape.

A shape is the number of positional values and the names of the keywords.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..errors import ArgumentError
from .layout import Layout
from .parameter import Parameter


class Plan(NamedTuple):
    """The parameters of one shape, in the order of its values."""

    positional: tuple[Parameter, ...]
    keyword: tuple[tuple[str, Parameter], ...]


def plan_of(layout: Layout, task: str, count: int, names: Iterable[str]) -> Plan:
    """Bind a shape to the parameters of a task.

    :raises ArgumentError: a value too many, an unknown name, a value given twice or missing.
    """
    positional = _positional(layout, task, count)
    taken = {parameter.name for parameter in positional}
    keyword: list[tuple[str, Parameter]] = []
    for name in names:
        parameter = layout.by_keyword.get(name)
        if parameter is None:
            parameter = _other(layout, task, name)
        elif name in taken:
            raise ArgumentError(f"{task}() got several values for parameter {name!r}")
        keyword.append((name, parameter))
    _refuse_missing(layout, task, taken.union(parameter.name for _, parameter in keyword))
    return Plan(positional, tuple(keyword))


def _positional(layout: Layout, task: str, count: int) -> tuple[Parameter, ...]:
    known = len(layout.positional)
    if count <= known:
        return layout.positional[:count]
    if layout.rest is None:
        takes = ", ".join(parameter.name for parameter in layout.positional)
        raise ArgumentError(
            f"{task}() takes {known} positional argument{'s' * (known != 1)}"
            f"{f' ({takes})' * (known > 0)}, but {count} were given"
        )
    return layout.positional + (layout.rest,) * (count - known)


def _other(layout: Layout, task: str, name: str) -> Parameter:
    """The parameter that takes a keyword of no parameter's name."""
    if name == layout.context:
        raise ArgumentError(
            f"{task}() got a value for parameter {name!r}, which is filled in with the "
            "context at each run; leave it out"
        )
    if layout.others is None:
        takes = ", ".join(layout.by_keyword) or "none"
        raise ArgumentError(
            f"{task}() has no parameter {name!r} that takes a keyword; those it has: {takes}"
        )
    return layout.others


def _refuse_missing(layout: Layout, task: str, given: set[str]) -> None:
    missing = [
        repr(parameter.name)
        for parameter in (*layout.positional, *layout.by_keyword.values())
        if parameter.required and parameter.name not in given
    ]
    if missing:
        listed = ", ".join(dict.fromkeys(missing))
        raise ArgumentError(f"{task}() misses a value for parameter {listed}")
