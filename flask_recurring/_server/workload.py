"""What an application gives its server to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._run.middleware import Middleware
from ..task import Task


@dataclass(frozen=True, slots=True)
class Workload:
    """The tasks by name, and what is wrapped around each of their runs, the outermost first."""

    tasks: Mapping[str, Task[..., Any]]
    middlewares: Sequence[Middleware]
