"""What a benchmark found: a table for people, and one line of JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """Figures by name. A figure is a number, None where it can't be measured, or figures again."""

    figures: Mapping[str, Any]

    def json(self) -> str:
        """All figures on one line."""
        return json.dumps(_rounded(self.figures))

    def table(self) -> str:
        """One line for each figure."""
        rows = list(_flat(_rounded(self.figures)))
        width = max((len(name) for name, _ in rows), default=0)
        return "\n".join(f"  {name:<{width}}  {_shown(value):>12}" for name, value in rows)


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, float):
        return round(value, 1) if abs(value) >= 100 else round(value, 4)
    return value


def _flat(figures: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{name} · ")
        else:
            yield f"{path}{name}", value


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
