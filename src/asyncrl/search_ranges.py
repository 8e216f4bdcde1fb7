"""Marks the settings that `asyncrl tune` searches by default, each with its range, where the setting is declared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Around:
    """From the starting value divided by a factor to the starting value times that factor, log-uniformly."""

    factor: float


@dataclass(frozen=True)
class Between:
    """From a smallest to a largest value, log-uniformly; the range is widened to contain the starting value."""

    low: float
    high: float


@dataclass(frozen=True)
class OneOf:
    """One of these values, or the starting value."""

    values: tuple[object, ...]


@dataclass(frozen=True)
class ShareOfSteps:
    """A number of steps: from a smallest to a largest share of the length of the run, log-uniformly."""

    low: float
    high: float


Range = Around | Between | OneOf | ShareOfSteps

RANGE = "range"
"""Key of the range in a field's metadata."""
TORSO = "torso"
"""Key of the torso that a setting belongs to in a field's metadata."""
UNLESS = "unless"
"""Key of the other setting that may leave a setting without effect in a field's metadata."""


def searched(default: T, values: Range, *, torso: str = "", unless: tuple[str, object] | None = None) -> T:
    """A dataclass field with a default, whose values `asyncrl tune` searches.

    Args:
        default: Default of the field.
        values: What is searched.
        torso: The only torso on which the setting has an effect; empty if that does not matter.
        unless: Name and value of another setting: while it has this value, the setting has no effect.
    """
    marked: T = field(default=default, metadata={RANGE: values, TORSO: torso, UNLESS: unless})
    return marked
