"""Databases that are not in UTF-8: what they can hold, and what stands for what they can't."""

from __future__ import annotations

import codecs
from typing import Any

import psycopg
from psycopg.types import string

from ..errors import ErrorKind, StoreUnusable
from ..text import fitted

NO_ENCODING = "SQL_ASCII"
"""PostgreSQL's name for a database that doesn't know what its bytes mean."""


def codec_of(encoding: str) -> str | None:
    """Python's codec for one of PostgreSQL's encodings; None for UTF-8, which holds everything.

    Where Python has none, it is ASCII: that is part of all of them.
    """
    if encoding == "UTF8":
        return None
    name = encoding.replace("WIN", "cp").replace("KOI8", "koi8-")
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "ascii"


def database_codec(driver: psycopg.Connection[Any]) -> str | None:
    """The codec of the connection's database. Raises ``StoreUnusable`` if it has none."""
    encoding = driver.info.parameter_status("server_encoding") or "UTF8"
    if encoding == NO_ENCODING:
        error = StoreUnusable(
            f"the database {driver.info.dbname!r} has the encoding SQL_ASCII, which doesn't say "
            "what its text means, so jobs can't be kept in it; make another one: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
        error.failure = ErrorKind.UNFIT
        raise error
    return codec_of(encoding)


def carried_codec(driver: psycopg.Connection[Any]) -> str | None:
    """The codec of the text that comes through the connection, and can be held behind it."""
    held = database_codec(driver)
    sent = codec_of(driver.info.parameter_status("client_encoding") or "UTF8")
    if sent in (None, held):
        return held
    return sent if held is None else "ascii"


def escape_unstorable(driver: psycopg.Connection[Any]) -> None:
    """Let the connection send escapes for what its database can't hold.

    Here and not in each statement: nothing is left out, and a database in UTF-8 pays nothing.
    """
    codec = database_codec(driver)
    if codec is None:
        return
    for base in (
        string.StrBinaryDumperName,
        string.StrBinaryDumperVarchar,
        string.StrBinaryDumper,
        string.StrDumperName,
        string.StrDumperVarchar,
        string.StrDumper,
        string.StrDumperUnknown,
    ):
        # In psycopg's own order: the last one is the one that is used where nothing is asked for.
        driver.adapters.register_dumper(str, _escaping(base, codec))


def _escaping(base: Any, codec: str) -> Any:
    class Escaping(base):  # type: ignore[misc]
        def dump(self, obj: str) -> Any:
            return super().dump(fitted(obj, codec))

    return Escaping
