"""Every error that this package raises on purpose, so that callers can catch one base class.

``JobCancelled`` is none: it ends a run.
"""

from __future__ import annotations


class RecurringError(Exception):
    """Base of all errors raised by flask_recurring."""


class ConfigurationError(RecurringError, ValueError):
    """A setting, a decorator's option or a definition is wrong.

    The message names what was given and what would be right.
    """


class UnknownOptionError(ConfigurationError, TypeError):
    """A decorator or a method was given an option that it doesn't have.

    The message names what was called, and the nearest options that there are.
    """


class ArgumentError(RecurringError, TypeError):
    """A call's arguments don't fit the task's signature or can't travel as JSON.

    The message names the parameter.
    """


class UnknownTaskError(RecurringError, LookupError):
    """A name was given for which no task is registered in this application."""


class UnknownRecurringJobError(RecurringError, LookupError):
    """No recurring job with this id exists in the database."""


class JobCancelled(BaseException):
    """Raised inside a run that is to stop, by ``context.wait`` and ``context.raise_if_cancelled``.

    It is no ``Exception``, as ``asyncio.CancelledError`` is none: a job that catches the errors of
    one item and goes on with the next must not take this for one of them.
    """


def shown(value: object) -> str:
    """A value for an error's message: not longer than a line takes."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
