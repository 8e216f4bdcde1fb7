"""The buffer that a worker's rollouts are written to, step by step; allocated once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Space
from numpy.typing import NDArray
from torch import Tensor

from asyncrl.config import Experiment
from asyncrl.envs.actions import ActionCodec
from asyncrl.tree import tree_map
from asyncrl.types import Decision, Rollout, State


@dataclass(frozen=True, slots=True)
class RewardRule:
    """What is learned from instead of a reward; what is reported is never changed."""

    clip: float | None = None  # to ± this
    scale: float = 1.0  # and then multiplied by this

    def apply(self, rewards: Tensor, out: Tensor | None = None) -> Tensor:
        """Rewards [T, B] as they are learned from, in `out` if it is given."""
        limit = math.inf if self.clip is None else self.clip
        return torch.clamp(rewards, -limit, limit, out=out).mul_(self.scale)


@dataclass(frozen=True, slots=True)
class RolloutRules:
    """How rollouts are collected."""

    length: int  # steps [T]
    discount: float  # γ
    rewards: RewardRule = RewardRule()
    episode_rollouts: bool = False  # end a rollout where its episode ends; for one environment
    look_ahead: bool = False  # choose the action for the last observation too, and begin the next rollout with it

    @classmethod
    def of(cls, experiment: Experiment) -> RolloutRules:
        """The rules by which an experiment's workers collect."""
        algorithm = experiment.algorithm
        return cls(
            algorithm.rollout_length,
            algorithm.discount,
            RewardRule(experiment.reward_clip, experiment.reward_scale),
            experiment.episode_rollouts,
            algorithm.look_ahead,
        )


class RolloutBuffer:
    """Room for T steps of B environments; a `Rollout` is a view of it, good until the next one is written.

    Environments reset themselves on the step after an end, so an observation that is an episode's last (`final`) is
    followed by a dummy step, and the observation after that is an episode's first.
    """

    def __init__(self, rules: RolloutRules, environments: int, space: Space[Any], codec: ActionCodec) -> None:
        self.rules, length = rules, rules.length
        self.observations = empty_observations(space, length + 1, environments)
        self.actions = aligned_zeros((length, environments, *codec.shape), codec.dtype)
        self.rewards = aligned_zeros((length, environments), np.float32)  # as the environments gave them
        self.learned_rewards = aligned_zeros((length, environments), np.float32)
        self.discounts = aligned_zeros((length, environments), np.float32)
        self.final = np.zeros((length + 1, environments), np.bool_)
        self.valid = np.zeros((length, environments), np.bool_)
        self.first = np.zeros((length + 1, environments), np.bool_)

    def start(self, observations: Any) -> None:
        """Begins with observations [B, ...] that are their episodes' first."""
        self._observe(0, observations)
        self.final[0], self.first[0] = False, True

    def carry_over(self, length: int) -> None:
        """Begins where a rollout of that length ended."""
        tree_map(lambda rows: np.copyto(rows[0], rows[length]), self.observations)
        for rows in (self.final, self.first):
            rows[0] = rows[length]

    def write(
        self,
        t: int,
        actions: Any,
        rewards: Any,
        terminated: Any,
        truncated: Any,
        observations: Any,
        life_lost: Any = False,
    ) -> None:
        """Copies transition t and the observations after it into the buffer, each argument [B, ...].

        Where a life was lost the discount is 0, as after a terminal state, but the episode goes on.
        """
        dummy = self.final[t]
        self.actions[t] = actions
        self.rewards[t] = rewards
        self.discounts[t] = np.where(
            np.logical_or(terminated, life_lost), np.float32(0), np.float32(self.rules.discount)
        )
        self._observe(t + 1, observations)
        np.logical_or(terminated, truncated, out=self.final[t + 1])
        self.final[t + 1] &= ~dummy
        self.first[t + 1] = dummy

    def rollout(self, length: int, state: State, decisions: Sequence[Decision], next_actions: Any = None) -> Rollout:
        """The first `length` steps, with the recurrent state before them and the decisions that led to them."""
        np.logical_not(self.final[:length], out=self.valid[:length])
        return Rollout(
            observations=tree_map(lambda rows: torch.from_numpy(rows[: length + 1]), self.observations),
            actions=torch.from_numpy(self.actions[:length]),
            rewards=self.rules.rewards.apply(
                torch.from_numpy(self.rewards[:length]), torch.from_numpy(self.learned_rewards[:length])
            ),
            discounts=torch.from_numpy(self.discounts[:length]),
            valid=torch.from_numpy(self.valid[:length]),
            first=torch.from_numpy(self.first[: length + 1]),
            state=state,
            next_actions=next_actions,
            behaviour={
                name: torch.cat([each.behaviour[name] for each in decisions]) for name in decisions[0].behaviour
            },
            activations=tuple(each.activations for each in decisions if each.activations is not None),
        )

    def _observe(self, t: int, observations: Any) -> None:
        tree_map(lambda rows, new: np.copyto(rows[t], new, casting="same_kind"), self.observations, observations)


def empty_observations(space: Space[Any], *leading: int) -> Any:
    """Zeros [*leading, ...] for a Box, or that for each key of a Dict."""
    if isinstance(space, Dict):
        return {key: empty_observations(part, *leading) for key, part in space.spaces.items()}
    assert isinstance(space, Box)
    return aligned_zeros((*leading, *space.shape), space.dtype)


def aligned_zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Zeros where torch would put them.

    What a matrix product rounds depends on where its operands lie, and equal runs are to have equal results.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    zeros: NDArray[Any] = torch.zeros(size, dtype=torch.uint8).numpy().view(dtype).reshape(shape)
    return zeros
