"""What names may look like: those of queues, tasks and recurring jobs."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

from .errors import ConfigurationError, UnknownOptionError

LONGEST_ID = 200
"""The most characters that an id or a task's name may have."""

_QUEUE = re.compile(r"[a-z0-9_-]{1,64}")

# Control characters, half a surrogate pair, and the two that break lines.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Say of an option that there is none of this name, and which were nearly meant.

    :param what: what was called.
    :raises UnknownOptionError: something was given that is not known.
    """
    there = list(known)
    for name in given:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=3)
            hint = "did you mean" if near else "it has"
            listed = ", ".join(map(repr, near or there))
            raise UnknownOptionError(
                f"{what}() has no option {name!r}; {hint} {listed}{'?' if near else ''}"
            )


def validate_queue(name: object) -> str:
    """The name of a queue, if it is one.

    :raises ConfigurationError: it is not 1 to 64 of the characters ``a-z``, ``0-9``, ``_``, ``-``.
    """
    if isinstance(name, str) and _QUEUE.fullmatch(name):
        return name
    raise ConfigurationError(
        f"queue {name!r} is not a queue's name: use 1 to 64 of the characters a-z, 0-9, _ and -"
    )


def validate_id(value: object, what: str = "id") -> str:
    """The id of a recurring job, or the name of a task, if it is one.

    :param what: what the value is, for the message.
    :raises ConfigurationError: it is no text, empty, longer than :data:`LONGEST_ID`, holds control
        characters, or begins or ends with white space.
    """
    if not isinstance(value, str):
        wrong = "is no text"
    elif not value:
        wrong = "is empty"
    elif len(value) > LONGEST_ID:
        wrong = f"has {len(value)} characters"
    elif value != value.strip():
        wrong = "begins or ends with white space"
    elif any(unicodedata.category(character) in _UNPRINTABLE for character in value):
        wrong = "holds a control character"
    else:
        return value
    shown = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:77]}..."
    raise ConfigurationError(
        f"{what} {shown} {wrong}: use 1 to {LONGEST_ID} printable characters, without white space "
        "at either end"
    )
