"""Acts in a worker's environments and gathers rollouts and finished episodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from asyncrl.envs.actions import action_codec
from asyncrl.envs.observations import as_agents_see
from asyncrl.memory.rollout import RewardRule, RolloutBuffer
from asyncrl.runtime.phases import PhaseClock
from asyncrl.tree import tree_map
from asyncrl.types import Episode, Rollout, State

Policy = Callable[[Any, State, Tensor], tuple[Tensor, State]]
"""Observations [1, B, ...], state and first [1, B] give actions [1, B, ...] and the next state."""


class Collector:
    """Runs B environments for T steps at a time.

    Args:
        environments: A vector that resets itself on the step after an end.
        state: The network's initial state, each tensor [B, H].
        length: Steps of a rollout [T].
        discount: γ.
        rewards: What is learned from instead of a reward.
        episode_rollouts: End a rollout where its episode ends; for one environment.
        seed: Of the environments.
        look_ahead: Choose the action for a rollout's last observation too, and begin the next rollout with it.
    """

    def __init__(
        self,
        environments: VectorEnv[Any, Any, Any],
        state: State,
        length: int,
        discount: float,
        rewards: RewardRule,
        episode_rollouts: bool,
        seed: int,
        look_ahead: bool = False,
    ) -> None:
        self.environments, self.state, self.length = environments, state, length
        self.discount, self.rewards, self.episode_rollouts = discount, rewards, episode_rollouts
        self.look_ahead = look_ahead
        self.chosen: tuple[Tensor, State] | None = None  # actions [1, B, ...] for the next observation, state after it
        self.codec = action_codec(environments.single_action_space)
        space = as_agents_see(environments.single_observation_space)
        self.buffer = RolloutBuffer(length, environments.num_envs, space, self.codec)
        self.buffer.start(environments.reset(seed=seed)[0])
        self.collected = 0  # steps of the last rollout
        self.returns = np.zeros(environments.num_envs)  # of the running episodes
        self.lengths = np.zeros(environments.num_envs, np.int64)  # of the running episodes
        self.finished: list[Episode] = []
        self.clock = PhaseClock()

    def collect(self, policy: Policy) -> Rollout:
        """The next rollout. It is a view of the collector's buffer, good until the next call."""
        self.buffer.carry_over(self.collected)
        if self.episode_rollouts and self.buffer.final[0, 0]:
            self._take(0, np.zeros((1, *self.codec.shape), self.codec.dtype))  # the dummy step that resets it
            self.buffer.carry_over(1)
            self.chosen = None
        state, length = self.state, 0
        while length < self.length and not (self.episode_rollouts and self.buffer.final[length, 0]):
            actions, self.state = self.chosen or self._choose(policy, length)
            self.chosen = None
            self._take(length, actions[0].numpy())
            length += 1
        if self.look_ahead:
            self.chosen = self._choose(policy, length)
        self.collected = length
        self._finish_episodes(length)
        next_actions = None if self.chosen is None else self.chosen[0][0]
        return self.buffer.rollout(length, state, self.discount, self.rewards, next_actions)

    def pop_finished(self) -> tuple[Episode, ...]:
        """Episodes that ended since the last call."""
        episodes, self.finished = tuple(self.finished), []
        return episodes

    def _choose(self, policy: Policy, t: int) -> tuple[Tensor, State]:
        observations = tree_map(lambda rows: torch.from_numpy(rows[t : t + 1]), self.buffer.observations)
        self.clock.lap("other")
        chosen = policy(observations, self.state, torch.from_numpy(self.buffer.first[t : t + 1]))
        self.clock.lap("act")
        return chosen

    def _take(self, t: int, actions: Any) -> None:
        self.clock.lap("other")
        step = self.environments.step(self.codec.to_environment(actions))
        self.clock.lap("environment")
        observations, rewards, terminated, truncated, _ = step
        self.buffer.write(t, actions, rewards, terminated, truncated, observations)

    def _finish_episodes(self, steps: int) -> None:
        valid = ~self.buffer.final[:steps]
        returns = self.returns + np.cumsum(self.buffer.rewards[:steps] * valid, 0, dtype=np.float64)  # [T, B]
        lengths = self.lengths + np.cumsum(valid, 0)
        columns, rows = np.nonzero(self.buffer.final[1 : steps + 1].T)  # ends, one environment after another
        self.returns, self.lengths = returns[-1], lengths[-1]
        if not len(columns):
            return
        total, length = returns[rows, columns], lengths[rows, columns]  # since the first episode of the rollout began
        again = np.flatnonzero(columns[1:] == columns[:-1]) + 1  # a second end of one environment
        starts, length_starts = np.zeros_like(total), np.zeros_like(length)
        starts[again], length_starts[again] = total[again - 1], length[again - 1]
        self.finished += map(Episode, (total - starts).tolist(), (length - length_starts).tolist(), columns.tolist())
        last = np.append(columns[1:] != columns[:-1], True)
        later = np.arange(steps)[:, None] > rows[last]  # what belongs to the episodes that go on
        self.returns[columns[last]] = (self.buffer.rewards[:steps] * valid)[:, columns[last]].sum(0, where=later)
        self.lengths[columns[last]] -= length[last]
