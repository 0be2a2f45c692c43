"""One parameter of a task: how its values become JSON, and values again.

A value is accepted if it comes back, through the same decoder that will read it at the run, as it
was. That proof is made where the job is enqueued, so that a run never fails over its arguments.
"""

from __future__ import annotations

import inspect
import math
import reprlib
import types
import typing
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

import msgspec
from msgspec import inspect as shapes

from ..errors import ArgumentError, ConfigurationError
from .roundtrip import LARGEST_INT, SMALLEST_INT, difference

_SAFE: tuple[type, ...] = (str, bool, types.NoneType)
_JSON_VALUES = (
    "None, bool, int within 64 bits, finite float, str, and lists and dicts with str keys of these"
)


def _plain(value: Any) -> Any:
    """An instance of a subclass of a builtin (``Markup``, ``FakeDatetime``) as that builtin."""
    match value:
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case datetime():
            return datetime(
                *(value.year, value.month, value.day),
                *(value.hour, value.minute, value.second, value.microsecond),
                tzinfo=value.tzinfo,
                fold=value.fold,
            )
        case date():
            return date(value.year, value.month, value.day)
        case _:
            raise NotImplementedError(f"{_name(type(value))} has no form in JSON")


def _open(kind: type, value: Any) -> Any:
    """What was annotated ``object`` stays what JSON made of it."""
    if kind is object:
        return value
    raise NotImplementedError(f"{_name(kind)} has no form in JSON")


ENCODER = msgspec.json.Encoder(enc_hook=_plain)

TOO_LARGE = "an int of more than 64 bits is not safe in JSON; give it as str or Decimal"


class UnresolvedAnnotation(ConfigurationError):
    """An annotation names what is not there: not yet, or not at all."""


class Parameter:
    """A parameter that callers of a task fill in.

    :param task: name of the task, for messages.
    :param name: name of the parameter; ``*name`` and ``**name`` stand for each of their items.
    :param annotation: the parameter's, resolved; ``Any`` if it has none.
    :param required: whether a call without it is refused.
    :raises ConfigurationError: a class within the annotation has annotations that can't be
        resolved.
    """

    safe: frozenset[type]
    """Exact types whose values need no proof."""
    decode: Callable[[msgspec.Raw | bytes], Any]
    """One value from its JSON. Raises what msgspec raises, or :exc:`ArgumentError`."""

    def __init__(self, task: str, name: str, annotation: Any, *, required: bool) -> None:
        self.task = task
        self.name = name
        self.annotation = Any if annotation is object else annotation
        self.required = required
        members = list(_members(self.annotation))
        takes_any = any(member is Any for member in members)
        self.safe = frozenset(k for k in _SAFE if takes_any or k in members)
        self._numbers = frozenset(k for k in (int, float) if takes_any or k in members)
        self._exact = False
        self.problem: str | None = None
        """Why no value can travel; None if some can."""
        try:
            shape = shapes.type_info(self.annotation)
            kinds = list(_shapes_within(shape))
            decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
                self.annotation, dec_hook=_open
            )
        except (NameError, AttributeError) as error:
            # The latter by a module that is just being imported.
            raise UnresolvedAnnotation(
                f"{task}(): the annotation of parameter {name!r} can't be resolved: {error}. "
                "Define or import the name at the top of the module that uses it, not under "
                "TYPE_CHECKING"
            ) from error
        except Exception as error:
            self._refuse_all(str(error))
            return
        foreign = [k.cls for k in kinds if isinstance(k, shapes.CustomType) and k.cls is not object]
        if foreign:
            self._refuse_all(f"{_name(foreign[0])} has no form in JSON")
            return
        self._exact = any(isinstance(k, (shapes.AnyType, shapes.CustomType)) for k in kinds)
        self.decode = decoder.decode

    def _refuse_all(self, reason: str) -> None:
        # Not an error of the definition: a parameter with a default may never be given at all.
        self.safe = frozenset()
        self._numbers = frozenset()
        self.problem = message = (
            f"{self.task}(): parameter {self.name!r} is annotated {_name(self.annotation)}, which "
            f"can't travel as JSON: {reason}. Give the key of a stored object, or annotate it as "
            "one of the types that travel: JSON's own, datetime, date, time, timedelta, UUID, "
            "Decimal, bytes, Enum, dataclass, TypedDict, NamedTuple, msgspec.Struct, and lists, "
            "tuples, sets and dicts of these"
        )

        def refuse(_: object) -> Any:
            raise ArgumentError(message)

        self.decode = refuse

    def encode(self, value: Any) -> Any:
        """A value that has been proved to travel, ready to stand in the encoded arguments.

        :raises ArgumentError: it is not of the annotated type, or would not come back as it is.
        """
        kind = type(value)
        if kind is int:
            if int in self._numbers and SMALLEST_INT <= value <= LARGEST_INT:
                return value
        elif kind is float and float in self._numbers and math.isfinite(value):
            return value
        return msgspec.Raw(self.prove(value))

    def prove(self, value: Any) -> bytes:
        """The JSON of a value that comes back as it was.

        :raises ArgumentError: see :meth:`encode`.
        """
        if self.problem is not None:
            raise ArgumentError(self.problem)
        try:
            encoded = ENCODER.encode(value)
            back = self.decode(encoded)
            found = difference(value, back, exact=self._exact)
        except RecursionError as error:
            raise self._refusal(value, "it is nested too deeply, or contains itself") from error
        except UnicodeEncodeError as error:
            reason = "a string in it holds a lone surrogate, which is no character"
            raise self._refusal(value, reason) from error
        except Exception as error:
            # Not only msgspec's own: a dataclass may raise anything when it is made again.
            reason = TOO_LARGE if _is_of_digits(error) else self.explain(error)
            raise self._refusal(value, reason) from error
        if found is None:
            return encoded
        if type(found.back) is int and found.sent == found.back:
            reason = TOO_LARGE
        elif isinstance(found.sent, float) and not math.isfinite(found.sent):
            reason = "JSON has no nan and no infinity"
        else:
            reason = f"it would come back as {_shown(found.back)}"
        if found.path:
            reason = f"{self.name.lstrip('*')}{found.path} is {_shown(found.sent)}: {reason}"
        raise self._refusal(value, reason)

    def explain(self, error: Exception) -> str:
        """An error of the decoder in words that name the place within this parameter."""
        text = str(error) or type(error).__name__
        text = text.replace("`$", f"`{self.name.lstrip('*')}")
        if "`float`, got `null`" in text:
            text += " (JSON has no nan and no infinity)"
        return text

    def _refusal(self, value: object, reason: str) -> ArgumentError:
        right = f"It takes {_name(self.annotation)}"
        if self.annotation is Any:
            right = (
                f"It has no annotation that says more, so it takes {_JSON_VALUES}; annotate it "
                "with the type that it should come back as"
            )
        return ArgumentError(
            f"{self.task}(): parameter {self.name!r} can't be {_shown(value)}: {reason}. {right}"
        )


def _members(annotation: Any) -> Iterator[Any]:
    """The members of a union; the annotation itself if it is none."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        yield from typing.get_args(annotation)
    else:
        yield types.NoneType if annotation is None else annotation


def _shapes_within(root: shapes.Type) -> Iterator[shapes.Type]:
    """Every type that msgspec sees within an annotation, each once."""
    seen: set[int] = set()
    waiting: list[object] = [root]
    while waiting:
        one = waiting.pop()
        if isinstance(one, tuple):
            waiting.extend(one)
        elif isinstance(one, (shapes.Type, shapes.Field)) and id(one) not in seen:
            seen.add(id(one))
            if isinstance(one, shapes.Type):
                yield one
            waiting.extend(getattr(one, name) for name in one.__struct_fields__)


def _name(annotation: Any) -> str:
    return inspect.formatannotation(annotation).replace("typing.", "")


def _shown(value: object) -> str:
    """A value for a message: short, and with its type where that is not plain to see."""
    text = _repr.repr(value)
    return text if value is None else f"{text} ({type(value).__name__})"


class _Repr(reprlib.Repr):
    """Short, whatever it is given: Python itself refuses to write out an int of 5,000 digits."""

    def repr_int(self, value: int, level: int) -> str:
        if value.bit_length() > _SHOWN_BITS:
            return f"<int of {value.bit_length():,} bits>"
        return super().repr_int(value, level)


_SHOWN_BITS = 2_000
"""Python writes at least 640 digits, which are more bits than these."""

_repr = _Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 60


def _is_of_digits(error: Exception) -> bool:
    """True if it says that an int has more digits than Python writes out (4,300, if not set)."""
    return isinstance(error, ValueError) and "integer string conversion" in str(error)
