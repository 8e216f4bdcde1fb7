"""Takes the mask of actions out of observations: it is for the heads, and the torso does not see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium.spaces import Dict, Space
from torch import Tensor

from asyncrl.types import ACTION_MASK, OBSERVATION


def split_mask(observations: Any) -> tuple[Any, Tensor | None]:
    """Splits observations into what a torso sees and the mask of actions [..., A], None if they hold no mask."""
    if not isinstance(observations, Mapping) or ACTION_MASK not in observations:
        return observations, None
    rest = {key: rows for key, rows in observations.items() if key != ACTION_MASK}
    return rest[OBSERVATION] if list(rest) == [OBSERVATION] else rest, observations[ACTION_MASK]


def unmasked_space(space: Space[Any]) -> Space[Any]:
    """Returns the space of what a torso sees of observations in a space."""
    if not isinstance(space, Dict):
        return space
    rest, mask = split_mask(space.spaces)
    return space if mask is None else Dict(list(rest.items())) if isinstance(rest, Mapping) else rest
