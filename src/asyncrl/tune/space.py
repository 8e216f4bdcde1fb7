"""What is searched: the ranges that settings declare, and those that the user gives."""

from __future__ import annotations

import dataclasses
from typing import Any

from asyncrl.config import GROUPS, Experiment, setting
from asyncrl.envs.make import describe
from asyncrl.search_ranges import RANGE, TORSO, UNLESS, Around, Between, OneOf, Range, ShareOfSteps
from asyncrl.tune.specification import Dimension, Value


def default_space(start: Experiment) -> dict[str, Dimension]:
    """A dimension for each setting that declares a range and has an effect in this experiment.

    Args:
        start: The experiment that the search starts from.
    """
    declared = {
        field.name: field
        for part in (start, *(getattr(start, group) for group in GROUPS))
        for field in dataclasses.fields(part)
        if RANGE in field.metadata
    }
    without_effect = set() if _has_mlp(start) else {"mlp"}
    return {
        name: _dimension(field.metadata[RANGE], setting(start, name), start.steps)
        for name, field in declared.items()
        if field.metadata[TORSO] not in without_effect and not _is_idle(start, field.metadata[UNLESS])
    }


def chosen(text: str, start: Experiment, name: str) -> Dimension | None:
    """The dimension that `name=low:high` or `name=a,b,c` describes by what follows the =; None if it makes no sense."""
    low, colon, high = text.partition(":")
    if not colon or "," in text:
        return Dimension(choices=tuple(text.split(",")))
    try:
        dimension = Dimension(float(low), float(high), whole=_is_whole(setting(start, name)))
    except ValueError:
        return None
    return dimension if (1 if dimension.whole else 0) < dimension.high and 0 < dimension.low <= dimension.high else None


def values_of(start: Experiment, space: dict[str, Dimension]) -> dict[str, Value]:
    """The values of an experiment in a space; those that lie outside are left out."""
    values: dict[str, Value] = {}
    for name, dimension in space.items():
        value = setting(start, name)
        if dimension.choices:
            values[name] = as_text(value)
        elif isinstance(value, int | float):
            values[name] = value / start.steps if dimension.of_steps else value
    return {name: value for name, value in values.items() if space[name].contains(value)}


def as_text(value: Any) -> str:
    """The value of a setting as on the command line."""
    if isinstance(value, list | tuple):
        return " ".join(map(as_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _dimension(declared: Range, value: Any, steps: int) -> Dimension:
    whole = _is_whole(value)
    match declared:
        case Around(factor):
            low, high = value / factor, value * factor
            return Dimension(max(1, round(low)), round(high), whole=True) if whole else Dimension(low, high)
        case Between(low, high):
            return Dimension(min(low, value) if value > 0 else low, max(high, value), whole)
        case OneOf(values):
            return Dimension(choices=tuple(dict.fromkeys(as_text(one) for one in (*values, value))))
        case ShareOfSteps(low, high):
            return Dimension(min(low, value / steps), max(high, value / steps), of_steps=True)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_idle(start: Experiment, unless: tuple[str, object] | None) -> bool:
    """Whether another setting, by its name and value, leaves a setting without effect."""
    return unless is not None and setting(start, unless[0]) == unless[1]


def _has_mlp(start: Experiment) -> bool:
    """Whether any part of the observations goes through the mlp torso."""
    from asyncrl.networks.torso import VectorTorso
    from asyncrl.runtime.networks import make_network

    modules = make_network(start, describe(start)).modules()
    return any(isinstance(module, VectorTorso) and len(module.layers) > 0 for module in modules)
