"""Sections of a recipe, checked against the functions that they name.

A section such as `net: {name: unet, channels: 64}` is the keyword arguments of the object registered as "unet". Its
schema is read off that object's signature with pydantic, so that an unknown key or a wrong type is one clear line
with the nearest right name, and nothing is declared twice.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from perrin.errors import PerrinError
from perrin.registry import Registry, unknown


def schema_of(function: Callable[..., Any], given: Iterable[str] = ()) -> type[BaseModel]:
    """The pydantic model of a callable's keyword options; `given` are those that the program fills in."""
    target = function.__init__ if inspect.isclass(function) else function
    # a dataclass's own hints know the modules of the classes that it inherits from
    hints = typing.get_type_hints(function if is_dataclass(function) else target)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in given or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints.get(name, Any), default)
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    return create_model(getattr(function, "__name__", "Options"), __config__=config, **fields)


def check_options(
    function: Callable[..., Any], options: Mapping[str, Any], where: str, given: Iterable[str] = ()
) -> dict[str, Any]:
    """The options, converted to the types of the callable's signature.

    Args:
        function: takes them as keywords; options: as the recipe has them.
        where: the section's name for messages; given: parameters that are not the recipe's to set.

    Raises:
        PerrinError: an unknown key (with the nearest), a missing one or a wrong type (with both types).
    """
    model = schema_of(function, given)
    for key in options:
        if key not in model.model_fields:
            raise unknown(f"{where}: option", key, model.model_fields)
    try:
        made = model.model_validate(dict(options))
    except ValidationError as error:
        raise PerrinError(first_line(error, where)) from error
    return {name: getattr(made, name) for name in options}


def named(
    registry: Registry, section: Mapping[str, Any], where: str, given: Iterable[str] = ()
) -> dict[str, Any]:
    """A section `{name: ..., **options}` of a registry, checked."""
    options = dict(section)
    if "name" not in options:
        raise PerrinError(f"{where} lacks 'name'; one of: {', '.join(registry)}")
    name = options.pop("name")
    return {"name": name, **check_options(registry[name], options, where, given)}


def first_line(error: ValidationError, where: str) -> str:
    """One line for pydantic's first complaint."""
    first = error.errors()[0]
    place = ".".join(str(p) for p in first["loc"] if not str(p).startswith("function-"))
    value = first.get("input")
    shown = "" if first["type"] == "missing" else f" = {value!r}"
    if first["type"] == "model_type":  # pydantic would name its class
        return f"{where}: {place}{shown}: must be a section, such as {{key: value}}"
    more = len(error.errors()) - 1
    return f"{where}: {place}{shown}: {first['msg'].lower()}" + (f" (and {more} more)" if more else "")
