"""The arguments of a task's calls as JSON text.

They are kept as ``[[positional...],{keyword...}]``, in the shape in which the call was written.
:class:`Signature` knows the task's function: it refuses a call that doesn't fit where it is made,
and at the run it gives the values back as the function's annotations say. Knows neither Flask nor
the store.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..errors import ArgumentError, ConfigurationError
from .layout import Layout, name_of, resolve
from .parameter import ENCODER, Parameter, UnresolvedAnnotation
from .plan import Plan, plan_of

NO_ARGUMENTS = "[[],{}]"
"""What the call without arguments is kept as."""

MAX_BYTES = 1024 * 1024
"""The most that one call's arguments may take up as JSON, in bytes of UTF-8."""

# Calls of one task come in a handful of shapes; only ``**kwargs`` could make them countless.
_MOST_PLANS = 256

_RAW: msgspec.json.Decoder[tuple[list[msgspec.Raw], dict[str, msgspec.Raw]]]
_RAW = msgspec.json.Decoder(tuple[list[msgspec.Raw], dict[str, msgspec.Raw]])
_VALUES: msgspec.json.Decoder[tuple[list[Any], dict[str, Any]]]
_VALUES = msgspec.json.Decoder(tuple[list[Any], dict[str, Any]])


class Signature:
    """What a task's function takes, and how its arguments travel.

    Making one resolves nothing: annotations may name what is defined further down in the module.
    They are resolved by :meth:`check`, if they can be yet, or at the first use. Two threads may do
    that at the same time, with the same outcome; there is no lock that a fork could leave held.

    :param function: the task's function.
    :param context_type: the class whose parameter the run fills in. It is no part of what callers
        give, and its values are never stored.
    :param name: the task's name, for messages; by default the function's.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        context_type: type | None = None,
        *,
        name: str | None = None,
    ) -> None:
        self.function = function
        self.context_type = context_type
        self.name = name or name_of(function)
        self._resolved: Layout | None = None
        self._plans: dict[tuple[object, ...], Plan] = {}

    @property
    def context_parameter(self) -> str | None:
        """Name of the parameter that takes the context; None if there is none.

        :raises ConfigurationError: an annotation can't be resolved, or two parameters take one.
        """
        return self._layout.context

    def resolve(self) -> None:
        """Resolve all annotations now.

        :raises ConfigurationError: one can't be resolved; the message names the parameter.
        """
        _ = self._layout

    def check(self) -> None:
        """Refuse now what no call could be enqueued with. What can't be resolved yet may wait.

        :raises ConfigurationError: a parameter that every call must give a value can't travel, or
            the context has no one place.
        """
        try:
            layout = self._layout
        except UnresolvedAnnotation:
            return
        for parameter in (*layout.positional, *layout.by_keyword.values()):
            if parameter.required and parameter.problem is not None:
                raise ConfigurationError(parameter.problem)

    def pack(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """The JSON text of a call's arguments.

        :raises ArgumentError: the call doesn't fit the function, a value is not of the annotated
            type or would not come back from JSON as it is, or all are larger than
            :data:`MAX_BYTES`. The message names the task and the parameter.
        :raises ConfigurationError: an annotation can't be resolved.
        """
        if not args and not kwargs and self._layout.callable_empty:
            return NO_ARGUMENTS
        positional, keyword = self._plan(len(args), kwargs)
        one: list[Any] = [
            value if type(value) in parameter.safe else parameter.encode(value)
            for parameter, value in zip(positional, args, strict=True)
        ]
        two: dict[str, Any] = {}
        for name, parameter in keyword:
            value = kwargs[name]
            two[name] = value if type(value) in parameter.safe else parameter.encode(value)
        try:
            encoded = ENCODER.encode((one, two))
        except UnicodeEncodeError:
            self._refuse_surrogate(args, kwargs)
        if len(encoded) > MAX_BYTES:
            self._refuse_size(len(encoded), one, two, positional)
        return encoded.decode()

    def unpack(self, text: str) -> tuple[list[Any], dict[str, Any]]:
        """The values to call the function with, as its annotations say; without the context.

        :raises ArgumentError: the text no longer fits the function, which has changed since it was
            packed. The message names the parameter.
        :raises ConfigurationError: an annotation can't be resolved.
        """
        if text == NO_ARGUMENTS and self._layout.callable_empty:
            return [], {}
        try:
            args, kwargs = _RAW.decode(text)
        except msgspec.DecodeError as error:
            raise ArgumentError(
                f"{self.name}(): the stored arguments are not of the form "
                f"[[positional...],{{keyword...}}]: {error}"
            ) from error
        positional, keyword = self._plan(len(args), kwargs)
        try:
            return (
                [parameter.decode(raw) for parameter, raw in zip(positional, args, strict=True)],
                {name: parameter.decode(kwargs[name]) for name, parameter in keyword},
            )
        except ArgumentError:
            raise
        except Exception as error:
            # Not only msgspec's own: a dataclass may raise anything when it is made.
            self._refuse_stored(positional, args, keyword, kwargs, error)

    def with_context(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], context: object
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """A call's arguments with the context added where the function wants it."""
        layout = self._layout
        if layout.context is None:
            return args, kwargs
        position = layout.context_position
        if position is not None and len(args) < position and layout.before_context is not None:
            args = [*args, *layout.before_context[len(args) :]]
        if position is None or len(args) < position:
            return args, {**kwargs, layout.context: context}
        return [*args[:position], context, *args[position:]], kwargs

    def has_context(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """True if a plain call of the function brings its own context.

        It does if it names it, or has an instance of the context's class (or of a stand-in that
        says it is one) in its place, or has more values than the other parameters can take.
        """
        layout = self._layout
        if layout.context is None or layout.context in kwargs:
            return layout.context is not None
        position = layout.context_position
        if position is None or len(args) <= position:
            return False
        if self.context_type is not None and isinstance(args[position], self.context_type):
            return True
        free = sum(parameter.name not in kwargs for parameter in layout.positional)
        return layout.rest is None and len(args) > free

    @property
    def _layout(self) -> Layout:
        layout = self._resolved
        if layout is None:
            layout = self._resolved = resolve(self.function, self.context_type, self.name)
        return layout

    def _plan(self, count: int, names: Iterable[str]) -> Plan:
        shape = (count, *names)
        plan = self._plans.get(shape)
        if plan is None:
            plan = plan_of(self._layout, self.name, count, names)
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[shape] = plan
        return plan

    def _refuse_surrogate(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> typing.NoReturn:
        """Find the string that is no text; called once encoding them all has failed."""
        positional, keyword = self._plan(len(args), kwargs)
        for parameter, value in zip(positional, args, strict=True):
            parameter.prove(value)
        for name, parameter in keyword:
            parameter.prove(kwargs[name])
        raise ArgumentError(f"{self.name}(): a keyword's name holds a lone surrogate")

    def _refuse_size(
        self, size: int, args: list[Any], kwargs: dict[str, Any], positional: Sequence[Parameter]
    ) -> typing.NoReturn:
        values = [(p.name, value) for p, value in zip(positional, args, strict=True)]
        values += kwargs.items()
        most, largest = max((len(ENCODER.encode(value)), name) for name, value in values)
        raise ArgumentError(
            f"{self.name}(): the arguments are {size:,} bytes of JSON, of which parameter "
            f"{largest!r} takes {most:,}; at most {MAX_BYTES:,} can travel. Keep "
            "the data in a table or a file and give its key"
        )

    def _refuse_stored(
        self,
        positional: Sequence[Parameter],
        args: Sequence[msgspec.Raw],
        keyword: Sequence[tuple[str, Parameter]],
        kwargs: Mapping[str, msgspec.Raw],
        error: Exception,
    ) -> typing.NoReturn:
        """Find the parameter whose stored value can't be read; called once reading has failed."""
        stored = list(zip(positional, args, strict=True))
        stored += [(parameter, kwargs[name]) for name, parameter in keyword]
        for parameter, raw in stored:
            try:
                parameter.decode(raw)
            except Exception as reason:
                raise ArgumentError(
                    f"{self.name}(): the stored value of parameter {parameter.name!r} no longer "
                    f"fits its annotation: {parameter.explain(reason)}"
                ) from reason
        raise error


def read_arguments(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Stored arguments as plain JSON values, for those who show them and don't know the task.

    :raises ArgumentError: the text is not of the form that :meth:`Signature.pack` writes.
    """
    try:
        args, kwargs = _VALUES.decode(text)
    except msgspec.DecodeError as error:
        raise ArgumentError(
            f"stored arguments are not of the form [[positional...],{{keyword...}}]: {error}"
        ) from error
    return tuple(args), kwargs
