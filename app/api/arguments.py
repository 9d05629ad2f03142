"""Arguments of the endpoints: their types as JSON Schema, and in a sentence what is wrong with a value."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lisa_micro.datasets.bounds import validation_problem

_CONFIG = ConfigDict(allow_inf_nan=False)


def argument_schemas(function: Callable[..., object]) -> dict[str, dict[str, Any]]:
    """Name -> JSON Schema of each argument, in order; those that may be left out have a ``default``."""
    schemas = {}
    for name, adapter in _adapters(function).items():
        schema = adapter.json_schema()
        default = inspect.signature(function).parameters[name].default
        schemas[name] = schema if default is inspect.Parameter.empty else {**schema, "default": default}
    return schemas


def wrong_argument(function: Callable[..., object], given: Sequence[object], named: Mapping[str, object]) -> str:
    """A sentence about the first argument of another type than the endpoint states; ``""`` if there is none."""
    try:
        values = inspect.signature(function).bind(*given, **named).arguments
    except TypeError as error:
        return f"The arguments do not fit: {error}."
    for name, adapter in _adapters(function).items():
        if name not in values:
            continue
        try:
            adapter.validate_python(values[name])
        except (ValidationError, RecursionError) as error:
            if isinstance(error, RecursionError):
                return f"The argument {name} is nested too deeply."
            return f"The argument {name} cannot be used: {validation_problem(error.errors()[0])}."
    return ""


def _adapters(function: Callable[..., object]) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(function)
    return {name: TypeAdapter(hints[name], config=_CONFIG) for name in inspect.signature(function).parameters}
