"""What a task returned, as JSON text: kept to be shown, read as plain JSON."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from .parameter import ENCODER

MAX_RESULT_BYTES = 64 * 1024
"""The most that one result may take up as JSON, in bytes of UTF-8."""


def encode_result(value: Any) -> str | None:
    """The JSON text of what a task returned; None for None.

    Results are read as plain JSON, so a datetime in one comes back as its ISO text.

    :raises ValueError: it has no form in JSON, or more than :data:`MAX_RESULT_BYTES` of it.
    """
    if value is None:
        return None
    try:
        encoded = ENCODER.encode(value)
        finite = len(encoded) > MAX_RESULT_BYTES or _all_finite(
            msgspec.to_builtins(value, enc_hook=ENCODER.enc_hook)
        )
    except RecursionError as error:
        raise ValueError("the result is nested too deeply, or contains itself") from error
    except UnicodeEncodeError as error:
        raise ValueError(
            "a string in the result holds a lone surrogate, which is no character"
        ) from error
    except Exception as error:
        raise ValueError(
            f"the result, of type {type(value).__name__}, can't be kept as JSON: {error}. Return "
            "None, or plain values such as a count or the key of a stored row"
        ) from error
    if len(encoded) > MAX_RESULT_BYTES:
        raise ValueError(
            f"the result is {len(encoded):,} bytes of JSON; at most {MAX_RESULT_BYTES:,} are kept. "
            "Keep the data in a table or a file and return its key"
        )
    if not finite:
        raise ValueError("the result holds nan or infinity, which JSON has not")
    return encoded.decode()


def read_result(text: str | None) -> Any:
    """A stored result as plain JSON values; None for None.

    :raises ValueError: the text is not JSON.
    """
    return None if text is None else msgspec.json.decode(text)


def _all_finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_all_finite, value.values()))
        case list() | tuple() | set() | frozenset():
            return all(map(_all_finite, value))
        case _:
            return True
