"""Builds the dataclasses of settings from plain data, and says in one line which value has the wrong type."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import dacite

from asyncrl.errors import UserError

Settings = TypeVar("Settings")

WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a string",
    NoneType: "None",
    dict: "a dictionary",
}


def build(cls: type[Settings], values: Mapping[str, Any]) -> Settings:
    """The settings with these values. One value counts as a list of one where a setting takes a list.

    Raises:
        UserError: A key is unknown or missing, or a value has the wrong type or makes no sense.
    """
    hooks = {float: _number, int: _whole, **_list_hooks(cls)}
    try:
        return dacite.from_dict(cls, values, dacite.Config(strict=True, cast=[tuple], type_hooks=hooks))
    except dacite.WrongTypeError as error:
        path = str(error.field_path).split(".")
        value: Any = values
        for name in path:
            value = value[name]
        reason = f"{path[-1]} takes {_described(error.field_type)}, not {value!r}"
        raise UserError(f"these settings cannot be used: {reason}") from error
    except (dacite.DaciteError, TypeError, ValueError) as error:
        raise UserError(f"these settings cannot be used: {error}") from error


def _whole(value: Any) -> Any:
    """The value as an int if it is a float without a fraction, as 1e5 is. Other values stay for the check of types."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: Any) -> Any:
    """The value as a float if it is a number or the text of one, as YAML reads 1e-3. Other values stay."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _list_hooks(cls: Any) -> dict[Any, Callable[[Any], Any]]:
    """What makes a list of one value, for each type of list that the settings of a dataclass or its groups take."""
    hooks: dict[Any, Callable[[Any], Any]] = {}
    for kind in get_type_hints(cls).values():
        if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
            hooks[kind] = _several
        elif dataclasses.is_dataclass(kind):
            hooks |= _list_hooks(kind)
    return hooks


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str | int | float) else value


def _described(kind: Any) -> str:
    """What a setting of this type takes, in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin in (Union, UnionType):
        return " or ".join(map(_described, parts))
    if origin is tuple and parts[-1] is Ellipsis:
        return f"a list (each part {_described(parts[0])})"
    if origin is tuple:
        return f"a list of {len(parts)} (each part {_described(parts[0])})"
    return WORDS.get(origin or kind, getattr(kind, "__name__", str(kind)))
