"""Text as every database can hold it."""

from __future__ import annotations

import codecs


def is_storable(text: str) -> bool:
    """True if a database can hold the text as it is. None will even look for any other."""
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


def fitted(text: str, codec: str) -> str:
    """The text with escapes for the characters that a database of this encoding can't hold.

    ``€`` becomes ``\\u20ac``, as JSON writes it: so JSON says the same afterwards, and in other
    text one sees what stood there.
    """
    return text if text.isascii() else text.encode(codec, _ESCAPES).decode(codec)


def first_unfit(text: str, codec: str | None) -> str | None:
    """The first character that a database of this encoding can't hold; None if it holds all.

    Asked of names: by an escape in its place, nobody would find them again.
    """
    try:
        text.encode(codec or "utf-8")
    except UnicodeEncodeError as error:
        return text[error.start]
    return None


def _escapes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # By UTF-16, as JSON: a character beyond 16 bits is two escapes.
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    escaped = (f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
    return "".join(escaped), error.end


_ESCAPES = "flask_recurring.escapes"
codecs.register_error(_ESCAPES, _escapes)
