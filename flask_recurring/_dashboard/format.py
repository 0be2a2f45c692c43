"""How values look on a page: durations, numbers, JSON, tracebacks, console text.

Whatever makes markup escapes its input first; everything else is plain text that the templates
escape.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup, escape

from ..job import Job

SPACE = "\N{NO-BREAK SPACE}"
LONGEST_JSON = 20_000
"""Characters of one value's JSON that a page shows."""

TOKEN = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*"(?=:))'
    r'|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<word>\b(?:true|false|null)\b)"
)
LINK = re.compile(r"https?://[\w\[][^\s<>\"'`\\^{}|]*", re.IGNORECASE)
ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
LIBRARY_FRAME = re.compile(r'^  File "[^"]*(?:site-packages|dist-packages|/lib/python)[^"]*"')


def duration(value: timedelta | float) -> str:
    """A length of time in at most two units: ``340 ms``, ``2 min 04 s``, ``3 d 5 h``."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 0.0005:
        return f"<1{SPACE}ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}{SPACE}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}{SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{SPACE}s"
    if whole < 3600:
        return _two(whole // 60, "min", whole % 60, "s")
    if whole < 86_400:
        return _two(whole // 3600, "h", whole % 3600 // 60, "min")
    return _two(whole // 86_400, "d", whole % 86_400 // 3600, "h")


def _two(large: int, unit: str, small: int, subunit: str) -> str:
    first = f"{large}{SPACE}{unit}"
    return f"{first}{SPACE}{small:02}{SPACE}{subunit}" if small else first


def offset(value: timedelta) -> str:
    """A console line's distance from the start of its run: ``+1.108s``, ``+<1ms``."""
    seconds = max(value.total_seconds(), 0.0)
    if seconds < 0.001:
        return "+<1ms"
    if seconds < 60:
        return f"+{seconds:.3f}s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"+{hours}:{minutes:02}:{rest:04.1f}" if hours else f"+{minutes}:{rest:04.1f}"


def number(value: int) -> str:
    """A count with its thousands set off."""
    return f"{value:,}"


def percent(value: float) -> str:
    """A progress bar's value, with a decimal only where there is one."""
    return f"{value:.1f}".removesuffix(".0") + "%"


def iso(value: datetime) -> str:
    """A moment for a machine: ISO 8601 in UTC, to the millisecond."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(value: datetime) -> str:
    """A moment for a reader without scripts; in the page's own zone, which is UTC."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def pretty_json(value: Any) -> Markup:
    """A value as indented JSON, each kind of token in a class of its own; long ones are cut."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    rest = len(text) - LONGEST_JSON
    text = text[:LONGEST_JSON]
    parts: list[Markup] = []
    end = 0
    for match in TOKEN.finditer(text):
        parts.append(escape(text[end : match.start()]))
        parts.append(Markup('<span class="json-{}">{}</span>').format(match.lastgroup, match[0]))
        end = match.end()
    parts.append(escape(text[end:]))
    if rest > 0:
        parts.append(Markup('\n<span class="cut">… {} more characters</span>').format(number(rest)))
    return Markup("").join(parts)


def one_line_call(job: Job, longest: int = 120) -> str:
    """A job's arguments on one line, as one would write them: ``"a@b.c", retries=3``."""
    words = [json.dumps(value, ensure_ascii=False, default=str) for value in job.args]
    words += [
        f"{name}={json.dumps(value, ensure_ascii=False, default=str)}"
        for name, value in job.kwargs.items()
    ]
    text = ", ".join(words)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def traceback_lines(text: str) -> Markup:
    """A traceback whose frames in libraries stand back, so that one's own code is seen first."""
    parts: list[Markup] = []
    quiet = False
    for line in text.splitlines():
        if line.startswith("  File "):
            quiet = LIBRARY_FRAME.match(line) is not None
        elif not line.startswith("    "):
            quiet = False
        kind = "frame-quiet" if quiet else "frame"
        parts.append(Markup('<span class="{}">{}</span>\n').format(kind, line))
    return Markup("").join(parts)


def console_text(text: str) -> Markup:
    """A console line: terminal escapes dropped, http and https addresses made links."""
    text = ESCAPE_SEQUENCE.sub("", text)
    parts: list[Markup] = []
    end = 0
    for match in LINK.finditer(text):
        address = _without_trailing_punctuation(match[0])
        parts.append(escape(text[end : match.start()]))
        parts.append(
            Markup(
                '<a href="{0}" target="_blank" rel="noopener noreferrer nofollow">{0}</a>'
            ).format(address)
        )
        end = match.start() + len(address)
    parts.append(escape(text[end:]))
    return Markup("").join(parts)


def _without_trailing_punctuation(address: str) -> str:
    """The address as its writer meant it: a closing stop, or a bracket that it did not open."""
    while address and (
        address[-1] in ".,;:!?"
        or (address[-1] == ")" and address.count("(") < address.count(")"))
        or (address[-1] == "]" and address.count("[") < address.count("]"))
    ):
        address = address[:-1]
    return address
