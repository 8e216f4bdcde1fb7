"""Acts in a worker's environments and gathers rollouts and finished episodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from asyncrl.memory.rollout import RolloutBuffer
from asyncrl.types import Episode, Rollout, State

Policy = Callable[[Tensor, State, Tensor], tuple[Tensor, State]]
"""Observations [1, B, ...], state and first [1, B] give actions [1, B] and the next state."""


class Collector:
    """Runs B environments for T steps at a time.

    Args:
        environments: A vector that resets itself on the step after an end.
        state: The network's initial state, each tensor [B, H].
        length: Steps of a rollout [T].
        discount: γ.
        reward_clip: Rewards are clipped to ± this for learning.
        episode_rollouts: End a rollout where its episode ends; for one environment.
        seed: Of the environments.
    """

    def __init__(
        self,
        environments: VectorEnv[Any, Any, Any],
        state: State,
        length: int,
        discount: float,
        reward_clip: float | None,
        episode_rollouts: bool,
        seed: int,
    ) -> None:
        self.environments, self.state, self.length = environments, state, length
        self.discount, self.reward_clip, self.episode_rollouts = discount, reward_clip, episode_rollouts
        self.first_action = int(getattr(environments.single_action_space, "start", 0))
        space = environments.single_observation_space
        self.buffer = RolloutBuffer(length, environments.num_envs, space)  # type: ignore[arg-type]
        self.buffer.start(environments.reset(seed=seed)[0])
        self.collected = 0  # steps of the last rollout
        self.returns = np.zeros(environments.num_envs)  # of the running episodes
        self.lengths = np.zeros(environments.num_envs, np.int64)  # of the running episodes
        self.finished: list[Episode] = []

    def collect(self, policy: Policy) -> Rollout:
        """The next rollout. It is a view of the collector's buffer, good until the next call."""
        self.buffer.carry_over(self.collected)
        if self.episode_rollouts and self.buffer.final[0, 0]:
            self._take(0, np.zeros(1, np.int64))  # the dummy step that resets the environment
            self.buffer.carry_over(1)
        state, length = self.state, 0
        while length < self.length and not (self.episode_rollouts and self.buffer.final[length, 0]):
            observations = torch.from_numpy(self.buffer.observations[length : length + 1])
            first = torch.from_numpy(self.buffer.first[length : length + 1])
            actions, self.state = policy(observations, self.state, first)
            self._take(length, actions[0].numpy())
            length += 1
        self.collected = length
        self._finish_episodes(length)
        return self.buffer.rollout(length, state, self.discount, self.reward_clip)

    def pop_finished(self) -> tuple[Episode, ...]:
        """Episodes that ended since the last call."""
        episodes, self.finished = tuple(self.finished), []
        return episodes

    def _take(self, t: int, actions: Any) -> None:
        observations, rewards, terminated, truncated, _ = self.environments.step(actions + self.first_action)
        self.buffer.write(t, actions, rewards, terminated, truncated, observations)

    def _finish_episodes(self, steps: int) -> None:
        valid = ~self.buffer.final[:steps]
        rewards = self.buffer.rewards[:steps] * valid
        start = np.zeros(self.environments.num_envs, np.int64)  # of the part of the rollout not yet counted
        for t, b in np.argwhere(self.buffer.final[1 : steps + 1]):
            total = self.returns[b] + float(rewards[start[b] : t + 1, b].sum())
            length = int(self.lengths[b] + valid[start[b] : t + 1, b].sum())
            self.finished.append(Episode(total, length, int(b)))
            self.returns[b], self.lengths[b], start[b] = 0.0, 0, t + 1
        unfinished = np.arange(steps)[:, None] >= start
        self.returns += (rewards * unfinished).sum(0)
        self.lengths += (valid & unfinished).sum(0)
