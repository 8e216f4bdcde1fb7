"""Tells the kind of an environment by its spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space

from asyncrl.envs.make import make_vector
from asyncrl.envs.observations import leaves
from asyncrl.types import Kind


def kind_of(environment: str, options: Mapping[str, Any], wrappers: Sequence[str] = ()) -> Kind:
    """Makes one environment and tells its kind.

    Args:
        environment: Gymnasium id.
        options: Keyword arguments of the environment.
        wrappers: Import paths of wrappers for it.

    Raises:
        UserError: It cannot be made.
    """
    environments = make_vector(environment, dict(options), 1, wrappers=wrappers)
    try:
        return kind_of_spaces(environments.single_observation_space, environments.single_action_space)
    finally:
        environments.close()


def kind_of_spaces(observations: Space[Any], actions: Space[Any]) -> Kind:
    """The kind of an environment with these spaces."""
    return Kind(_kind_of_observations(observations), _kind_of_actions(actions))


def _kind_of_observations(space: Space[Any]) -> Literal["states", "vectors", "images"]:
    if isinstance(space, Discrete):
        return "states"
    has_images = any(isinstance(part, Box) and len(part.shape) == 3 for _, part in leaves(space))
    return "images" if has_images else "vectors"


def _kind_of_actions(space: Space[Any]) -> Literal["discrete", "several", "continuous"]:
    if isinstance(space, Discrete):
        return "discrete"
    return "several" if isinstance(space, MultiDiscrete) else "continuous"
