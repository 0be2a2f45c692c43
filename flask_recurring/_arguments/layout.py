"""A function's parameters as a task sees them: annotations resolved, the context set apart."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError
from .parameter import Parameter, UnresolvedAnnotation


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A function's parameters, resolved; without the one that takes the context."""

    positional: tuple[Parameter, ...]
    by_keyword: Mapping[str, Parameter]
    rest: Parameter | None
    """``*args``"""
    others: Parameter | None
    """``**kwargs``"""
    context: str | None
    context_position: int | None
    """Its place among all positional parameters; None if it takes a keyword only."""
    before_context: tuple[Any, ...] | None
    """For a context that takes no keyword: the defaults of the parameters before it."""
    callable_empty: bool
    """True if a call without arguments fits."""


def resolve(function: Callable[..., Any], context_type: type | None, task: str) -> Layout:
    """Read a function's parameters and their annotations.

    :raises ConfigurationError: an annotation can't be resolved, or the context has no one place.
    """
    kinds = inspect.Parameter
    positional: list[Parameter] = []
    by_keyword: dict[str, Parameter] = {}
    rest = others = context = context_position = before_context = None
    defaults: list[Any] = []
    parameters = _parameters(function, task)
    for parameter in parameters.values():
        name, kind = parameter.name, parameter.kind
        annotation = _annotation(function, parameter, context_type, task)
        if context_type is not None and _is_context(annotation, context_type):
            if context is not None or kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD):
                raise ConfigurationError(
                    f"{task}() takes its {context_type.__name__} more than once, in parameter "
                    f"{name!r} too; annotate one parameter with it, and not *args or **kwargs"
                )
            context = name
            if kind is not kinds.KEYWORD_ONLY:
                context_position = len(positional)
            if kind is kinds.POSITIONAL_ONLY:
                before_context = tuple(defaults)
            continue
        if kind is kinds.VAR_POSITIONAL:
            rest = Parameter(task, f"*{name}", annotation, required=False)
            continue
        if kind is kinds.VAR_KEYWORD:
            others = Parameter(task, f"**{name}", annotation, required=False)
            continue
        ours = Parameter(task, name, annotation, required=parameter.default is kinds.empty)
        if kind is not kinds.KEYWORD_ONLY:
            positional.append(ours)
            defaults.append(parameter.default)
        if kind is not kinds.POSITIONAL_ONLY:
            by_keyword[name] = ours
    if context is None and context_type is not None and "context" in by_keyword:
        _refuse_bare(by_keyword["context"], parameters["context"], context_type)
    return Layout(
        positional=tuple(positional),
        by_keyword=by_keyword,
        rest=rest,
        others=others,
        context=context,
        context_position=context_position,
        before_context=before_context,
        callable_empty=not any(p.required for p in (*positional, *by_keyword.values())),
    )


def _refuse_bare(ours: Parameter, written: inspect.Parameter, context_type: type) -> None:
    """Refuse a context without annotation, which callers would have to give a value."""
    if written.annotation is written.empty:
        kind = context_type.__name__
        raise ConfigurationError(
            f"{ours.task}(): the parameter 'context' has no annotation, so each run would need a "
            f"value for it from its caller. Write 'context: {kind}' to have the {kind} filled in; "
            "if callers do give it, annotate it with its own type, for example 'context: str'"
        )


def _parameters(function: Callable[..., Any], task: str) -> Mapping[str, inspect.Parameter]:
    options: dict[str, Any] = {}
    if sys.version_info >= (3, 14):
        # Otherwise a name that doesn't exist would be an error here, without its parameter.
        import annotationlib

        options["annotation_format"] = annotationlib.Format.FORWARDREF
    try:
        return inspect.signature(function, **options).parameters
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{task}() can't be a task: its parameters are not known ({error}). Wrap it in a "
            "function that is written in Python"
        ) from error


def _annotation(
    function: Callable[..., Any],
    parameter: inspect.Parameter,
    context_type: type | None,
    task: str,
) -> Any:
    """A parameter's annotation, with the names in it looked up where the function was written."""
    if parameter.annotation is parameter.empty:
        return Any
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inspect.unwrap(inner.func)
    # An instance with ``__call__`` has no globals of its own.
    written = inner if hasattr(inner, "__globals__") else type(inner).__call__
    names = dict(getattr(written, "__globals__", {}))
    if context_type is not None:
        # Linters move an import that only annotations use under TYPE_CHECKING.
        names.setdefault(context_type.__name__, context_type)
    for variable in getattr(inner, "__type_params__", ()):
        names.setdefault(variable.__name__, variable)
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        hints = typing.get_type_hints(holder, globalns=names, include_extras=True)
    except Exception as error:
        raise UnresolvedAnnotation(
            f"{task}(): the annotation {parameter.annotation!r} of parameter {parameter.name!r} "
            f"can't be resolved: {error}. Define or import the name at the top of the module, not "
            "under TYPE_CHECKING and not inside a function"
        ) from error
    return hints[parameter.name]


def _is_context(annotation: Any, context_type: type) -> bool:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not types.NoneType]
        return members == [context_type]
    return annotation is context_type


def name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)
