"""Text as every database can hold it."""

from __future__ import annotations


def is_storable(text: str) -> bool:
    """Whether a database can hold the text as it is; none will even look for any other."""
    return storable(text) == text


def storable(text: str, limit: int | None = None) -> str:
    """The text without what PostgreSQL refuses (NUL, lone surrogates), cut to ``limit`` characters.

    A line that a job writes must never make the statement fail that also says that the job is done.
    """
    if "\0" in text:
        text = text.replace("\0", "\N{SYMBOL FOR NULL}")
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return text
