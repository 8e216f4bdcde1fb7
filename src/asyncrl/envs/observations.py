"""Converts observations to one Box or a flat Dict of Boxes, and adds the last action and reward to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Space, Tuple, flatten, flatten_space
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from asyncrl.envs.actions import action_codec
from asyncrl.errors import UserError
from asyncrl.types import LAST_ACTION, LAST_REWARD, OBSERVATION


def leaves(space: Space[Any], path: str = "") -> Iterator[tuple[str, Space[Any]]]:
    """Yields the spaces inside nested Dict and Tuple spaces, each with its path, such as `arm/camera`.

    Raises:
        UserError: A space cannot be flattened to an array of fixed size.
    """
    if isinstance(space, Dict | Tuple):
        parts = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        for key, part in parts:
            yield from leaves(part, f"{path}/{key}" if path else str(key))
    elif isinstance(space, Box) or _is_flattenable(space):
        yield path, space
    else:
        raise UserError(
            f"observations of kind {space} cannot be flattened to arrays of fixed size: wrap the environment"
        )


def _is_flattenable(space: Space[Any]) -> bool:
    try:
        return space.is_np_flattenable
    except NotImplementedError:  # a custom space
        return False


def leaf_values(space: Space[Any], value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the arrays inside one observation with the paths of `leaves`; other values are flattened (one-hot)."""
    if isinstance(space, Dict | Tuple):
        parts = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        for key, part in parts:
            yield from leaf_values(part, value[key], f"{path}/{key}" if path else str(key))
    else:
        yield path, value if isinstance(space, Box) else flatten(space, value)


class ArrayObservations(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Converts observations of any kind to one Box, or to a flat Dict of Boxes."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        boxes: dict[str, Space[Any]] = {
            path: space if isinstance(space, Box) else flatten_space(space) for path, space in leaves(self.inner)
        }
        self.observation_space = boxes[""] if list(boxes) == [""] else Dict(boxes)

    @property
    def inner(self) -> Space[Any]:
        """Observation space of the wrapped environment."""
        return self.env.observation_space

    def observation(self, observation: Any) -> Any:
        """Converts one observation."""
        values = dict(leaf_values(self.inner, observation))
        return values[""] if list(values) == [""] else values


class WithLastActionAndReward(VectorWrapper[Any, Any, Any]):
    """Adds the last action (one-hot) and the last reward to each observation; both are zero at an episode's start.

    They are inputs of the LSTM in the agents of UNREAL (Jaderberg et al. 2017).
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], reward_clip: float | None) -> None:
        super().__init__(env)
        self.limit = np.inf if reward_clip is None else reward_clip
        self.codec = action_codec(env.single_action_space)
        inner = env.single_observation_space
        spaces = dict(inner.spaces) if isinstance(inner, Dict) else {OBSERVATION: inner}
        if {LAST_ACTION, LAST_REWARD} & set(spaces):
            raise UserError(
                f"the environment already observes {LAST_ACTION!r} or {LAST_REWARD!r}: leave out --last-action-reward"
            )
        spaces[LAST_ACTION] = Box(-np.inf, np.inf, (sum(self.codec.sizes),), np.float32)
        spaces[LAST_REWARD] = Box(-np.inf, np.inf, (1,), np.float32)
        self.single_observation_space = Dict(spaces)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self.ended = np.zeros(env.num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts all episodes anew."""
        observations, info = self.env.reset(seed=seed, options=options)
        self.ended[:] = False
        width = sum(self.codec.sizes)
        return self._with(observations, np.zeros((self.num_envs, width)), np.zeros((self.num_envs, 1))), info

    def step(self, actions: Any) -> Any:
        """Steps all environments."""
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        running = ~self.ended[:, None]  # a dummy step only resets its environment
        last_actions = self.codec.one_hot(np.asarray(actions)) * running
        last_rewards = np.clip(rewards, -self.limit, self.limit)[:, None] * running
        self.ended = np.logical_or(terminated, truncated) & ~self.ended
        return self._with(observations, last_actions, last_rewards), rewards, terminated, truncated, info

    def _with(self, observations: Any, actions: NDArray[Any], rewards: NDArray[Any]) -> dict[str, Any]:
        values = observations if isinstance(observations, Mapping) else {OBSERVATION: observations}
        return {**values, LAST_ACTION: actions.astype(np.float32), LAST_REWARD: rewards.astype(np.float32)}


def as_agents_see(space: Space[Any]) -> Space[Any]:
    """Returns the same Box or Dict of Boxes with float32 in place of float64."""
    if isinstance(space, Dict):
        return Dict({key: as_agents_see(part) for key, part in space.spaces.items()})
    if isinstance(space, Box) and space.dtype == np.float64:
        low, high = np.finfo(np.float32).min, np.finfo(np.float32).max
        lower = np.where(np.isfinite(space.low), space.low.clip(low, high), space.low)
        upper = np.where(np.isfinite(space.high), space.high.clip(low, high), space.high)
        return Box(lower.astype(np.float32), upper.astype(np.float32), dtype=np.float32)
    return space
