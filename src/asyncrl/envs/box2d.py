"""Gymnasium's Box2D environments, whose vectors leave their spaces in ordinary play."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from gymnasium.wrappers import TransformObservation


def unbounded(env: gymnasium.Env[Any, Any], spec: EnvSpec) -> gymnasium.Env[Any, Any]:
    """The environment with a space without bounds, if it is one of Box2D's that observe vectors.

    LunarLander says that the lander's height is at most 2.5, and lets it fly as high as it likes.

    Args:
        env: Any environment.
        spec: Its specification.
    """
    space = env.observation_space
    is_vector = isinstance(space, Box) and len(space.shape) == 1
    if not is_vector or not str(spec.entry_point).startswith("gymnasium.envs.box2d"):
        return env
    return TransformObservation(env, lambda vector: vector, Box(-np.inf, np.inf, space.shape, np.float32))
