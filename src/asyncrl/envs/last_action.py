"""The last action and reward as parts of an observation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from asyncrl.envs.actions import action_codec
from asyncrl.errors import UserError
from asyncrl.types import LAST_ACTION, LAST_REWARD, OBSERVATION


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
