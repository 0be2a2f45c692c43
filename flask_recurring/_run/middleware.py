"""What is wrapped around each run.

A middleware is a function of the run's context and of ``call_next``, which goes on with the run and
returns its result::

    def timed(context, call_next):
        began = time.monotonic()
        try:
            return call_next()
        finally:
            context.write_line(f"{time.monotonic() - began:.1f} s")

What a middleware returns is the run's result, and what it raises is how the run has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, TypeAlias

from .context import JobContext

CallNext: TypeAlias = Callable[[], Any]
"""Goes on with the run, and returns its result."""

Middleware: TypeAlias = Callable[[JobContext, CallNext], Any]


def compose(middlewares: Sequence[Middleware]) -> Middleware:
    """Several as one, the first of them outermost. One alone is itself, and costs no more."""
    return reduce(_around, middlewares) if middlewares else _none


def _around(outer: Middleware, inner: Middleware) -> Middleware:
    def both(context: JobContext, call_next: CallNext) -> Any:
        return outer(context, partial(inner, context, call_next))

    return both


def _none(context: JobContext, call_next: CallNext) -> Any:
    return call_next()
