"""Says whether a value came back from JSON as it was sent, and if not, where it differs.

Encoding and decoding without an error proves little: ``{1: "a"}`` comes back as ``{"1": "a"}``, a
datetime as a string wherever nothing says that it is one. So what came back is compared with what
was sent, down to the leaves.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import NoneType
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

SMALLEST_INT = -(2**63)
LARGEST_INT = 2**64 - 1
"""Integers beyond these are refused: not every reader of JSON keeps their digits."""

_SCALARS = frozenset({str, int, float, bool, NoneType})
_UNCHANGED = frozenset({str, float, bool, NoneType})
_LEAVES = frozenset({datetime, date, time, timedelta, UUID, Decimal, bytes, set, frozenset})


class Difference(NamedTuple):
    """The first place where what came back is not what was sent."""

    path: str
    """From the value's root, as one would write it in Python: ``.lines[2]['price']``."""
    sent: object
    back: object


def difference(sent: Any, back: Any, *, exact: bool) -> Difference | None:
    """The first difference between a value and what JSON made of it; None if it came back whole.

    A tuple may come back as a list and a frozenset as a set, where the annotation says so.

    :param exact: refuse instances of subclasses too (a ``StrEnum`` member that comes back as a
        plain string). To be set where the annotation leaves the type open, because nothing then
        tells the reader what it was.
    :raises RecursionError: the value is nested too deeply or contains itself.
    """
    kind = type(back)
    if kind in _SCALARS:
        return None if _same_scalar(sent, back, exact) else Difference("", sent, back)
    if kind is dict:
        return _dict_difference(sent, back, exact)
    if kind in _LEAVES:
        return None if _same_leaf(sent, back, exact) else Difference("", sent, back)
    if isinstance(back, (list, tuple)):
        return _sequence_difference(sent, back, exact)
    fields = _fields(back)
    if fields is not None:
        if type(sent) is not kind:
            return Difference("", sent, back)
        pairs = ((f".{name}", getattr(sent, name), getattr(back, name)) for name in fields)
        return _first_difference(pairs, exact)
    return None if _same_leaf(sent, back, exact) else Difference("", sent, back)


def _same_scalar(sent: Any, back: Any, exact: bool) -> bool:
    kind = type(back)
    if type(sent) is not kind:
        if isinstance(sent, bool):
            return False
        # An int stands in for a float wherever the float has its very value.
        whole_number = kind is float and type(sent) is int
        if not whole_number and (exact or not isinstance(sent, kind)):
            return False
    if kind is int and not SMALLEST_INT <= sent <= LARGEST_INT:
        return False
    return bool(sent == back)


def _dict_difference(sent: Any, back: dict[Any, Any], exact: bool) -> Difference | None:
    if type(sent) is not dict and (exact or not isinstance(sent, dict)):
        return Difference("", sent, back)
    if len(sent) != len(back) or any(key not in back for key in sent):
        return Difference("", sent, back)
    # Both are in one order, that of the JSON text between them.
    if exact and list(map(type, sent)) != list(map(type, back)):
        return Difference("", sent, back)
    return _first_difference(((f"[{key!r}]", sent[key], back[key]) for key in sent), exact)


def _sequence_difference(
    sent: Any, back: list[Any] | tuple[Any, ...], exact: bool
) -> Difference | None:
    if type(back) is list:
        fits = type(sent) in (list, tuple) or (not exact and isinstance(sent, list))
    else:
        fits = type(sent) is type(back)
    if not fits or len(sent) != len(back):
        return Difference("", sent, back)
    for index, (one, other) in enumerate(zip(sent, back, strict=True)):
        # Most lists hold plain values of one kind, and many of them: spare each a call.
        kind = type(one)
        if kind is type(other) and (
            (kind in _UNCHANGED and one == other)
            or (kind is int and one == other and SMALLEST_INT <= one <= LARGEST_INT)
        ):
            continue
        found = difference(one, other, exact=exact)
        if found:
            return found._replace(path=f"[{index}]{found.path}")
    return None


def _first_difference(pairs: Iterable[tuple[str, Any, Any]], exact: bool) -> Difference | None:
    for path, one, other in pairs:
        found = difference(one, other, exact=exact)
        if found:
            return found._replace(path=path + found.path)
    return None


def _fields(value: Any) -> Iterator[str] | None:
    """Names of the fields of a dataclass, a Struct or an attrs instance; None for all else."""
    if dataclasses.is_dataclass(value):
        return (field.name for field in dataclasses.fields(value))
    if isinstance(value, msgspec.Struct):
        return iter(value.__struct_fields__)
    attributes = getattr(type(value), "__attrs_attrs__", None)
    return None if attributes is None else (attribute.name for attribute in attributes)


def _same_leaf(sent: Any, back: Any, exact: bool) -> bool:
    match back:
        case enum.Enum():
            return type(sent) is type(back) and bool(sent == back)
        case set() | frozenset():
            kinds = (set, frozenset) if type(back) is set else (frozenset,)
            if type(sent) not in kinds or sent != back:
                return False
            return not exact or {type(one) for one in sent} == {type(one) for one in back}
        case datetime():
            if not isinstance(sent, datetime) or (sent.tzinfo is None) != (back.tzinfo is None):
                return False
            if sent.tzinfo is None:
                return sent == back and sent.fold == back.fold
            # Not ``==``: between two zones that is always false in the hour that occurs twice.
            return not sent - back
        case date():
            return isinstance(sent, date) and not isinstance(sent, datetime) and sent == back
        case time():
            # A time in a zone without a fixed offset equals a naive one, which it would become.
            return (
                isinstance(sent, time)
                and (sent.tzinfo is None) == (back.tzinfo is None)
                and sent == back
                and sent.fold == back.fold
            )
        case Decimal():
            return isinstance(sent, Decimal) and sent.as_tuple() == back.as_tuple()
        case _:
            return isinstance(sent, type(back)) and bool(sent == back)
