"""Text from anywhere, for a log or a terminal: with the characters escaped that would command it.

What a job raises or writes may come from outside. In a log a line break in it would begin a line
that nobody wrote; a terminal can be told to change its title, its colours, or what stands on it.
"""

from __future__ import annotations

import re

COMMANDS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""Control characters, those that reverse the order of what follows, and halves of characters."""

_IN_LINES = re.compile(f"[{COMMANDS}]")
_IN_ONE = re.compile(f"[{COMMANDS}\t\n]")


def printable(text: str) -> str:
    """The text with its line breaks and tabs, and everything else escaped as Python writes it."""
    return _IN_LINES.sub(_escaped, text)


def on_one_line(text: str) -> str:
    """The text with line breaks and tabs escaped too."""
    return _IN_ONE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
