"""Rollouts on every kind of vector environment: what ends, what is a dummy, and what is bootstrapped from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.envs.make import make_vector
from asyncrl.functional.returns import n_step_returns
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.rollout_buffer import RewardRule, RolloutRules
from asyncrl.types import Decision, State


def collector(environments: VectorEnv[Any, Any, Any], length: int, **settings: Any) -> Collector:
    return Collector(environments, (), RolloutRules(length, discount=0.9, **settings), seed=0)


def first_action(observations: Tensor, state: State, first: Tensor) -> Decision:
    return Decision(torch.zeros(first.shape, dtype=torch.int64), state)


def random_action(actions: int) -> Any:
    generator = torch.Generator().manual_seed(0)

    def policy(observations: Tensor, state: State, first: Tensor) -> Decision:
        return Decision(torch.randint(actions, first.shape, generator=generator), state)

    return policy


def clock(length: int, truncate: bool, count: int = 1) -> VectorEnv[Any, Any, Any]:
    return make_vector("test/Clock-v0", {"length": length, "truncate": truncate}, count)


def test_a_truncated_episode_bootstraps_from_its_final_observation() -> None:
    rollout = collector(clock(3, truncate=True), 6).collect(first_action)
    # observations [episode, step]; the environment hands out one array again and again, so copies must be kept
    assert rollout.observations[:, 0].tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [1, 0], [1, 1], [1, 2]]
    assert rollout.valid[:, 0].tolist() == [True, True, True, False, True, True]
    assert rollout.first[:, 0].tolist() == [True, False, False, False, True, False, False]
    assert rollout.steps == 5
    values = rollout.observations[..., 1] * 10 + rollout.observations[..., 0] * 100  # V(s) by a formula
    returns = n_step_returns(rollout.rewards, rollout.discounts, values, rollout.valid)
    assert returns[2, 0] == pytest.approx(3 + 0.9 * 30)  # V([0, 3]), the final observation, not V([1, 0])
    assert returns[0, 0] == pytest.approx(1 + 0.9 * 2 + 0.81 * 3 + 0.729 * 30)


def test_a_terminated_episode_bootstraps_from_nothing() -> None:
    rollout = collector(clock(3, truncate=False), 6).collect(first_action)
    values = torch.full((7, 1), 1000.0)
    returns = n_step_returns(rollout.rewards, rollout.discounts, values, rollout.valid)
    assert returns[0, 0] == pytest.approx(1 + 0.9 * 2 + 0.81 * 3)


@pytest.mark.parametrize("truncate", [True, False])
def test_episodes_are_counted_once_across_rollouts(truncate: bool) -> None:
    gatherer = collector(clock(3, truncate, count=2), 4)
    episodes = []
    steps = 0
    for _ in range(6):  # 24 transitions of each environment: an episode and its dummy take 4
        steps += gatherer.collect(first_action).steps
        episodes += gatherer.pop_finished()
    assert [(e.total_reward, e.length) for e in episodes] == [(6.0, 3)] * 12
    assert sorted({e.environment for e in episodes}) == [0, 1]
    assert steps == 2 * 18


def test_the_next_rollout_goes_on_where_the_last_one_ended() -> None:
    gatherer = collector(clock(5, truncate=True), 3)
    last = gatherer.collect(first_action).observations[-1].clone()
    rollout = gatherer.collect(first_action)
    assert torch.equal(rollout.observations[0], last)
    assert not rollout.first[0].any()


def test_rewards_are_clipped_and_scaled_for_learning_only() -> None:
    gatherer = collector(clock(3, truncate=True), 4, rewards=RewardRule(clip=1.5, scale=0.1))
    rollout = gatherer.collect(first_action)
    assert rollout.rewards[:3, 0].tolist() == pytest.approx([0.1, 0.15, 0.15])
    assert gatherer.pop_finished()[0].total_reward == 6.0


@pytest.mark.parametrize("truncate", [True, False])
def test_rollouts_that_end_with_episodes(truncate: bool) -> None:
    gatherer = collector(clock(3, truncate), 5, episode_rollouts=True)
    for episode in range(3):
        rollout = gatherer.collect(first_action)
        assert rollout.observations[:, 0].tolist() == [[episode, step] for step in range(4)]
        assert rollout.valid.all()
        assert rollout.first[:, 0].tolist() == [True, False, False, False]
        assert rollout.discounts[-1, 0] == pytest.approx(0.9 if truncate else 0.0)


@pytest.mark.parametrize(
    ("environment", "options", "actions", "limit"),
    [
        ("CartPole-v1", {"max_episode_steps": 7}, 2, 7),  # its own vector environment
        ("Acrobot-v1", {"max_episode_steps": 7}, 3, 7),  # SyncVectorEnv
        ("ALE/Pong-v5", {"max_num_frames_per_episode": 7 * 4, "noop_max": 1}, 6, None),  # ale-py's
    ],
)
def test_real_vectors_show_the_final_observation_before_the_reset(
    environment: str, options: dict[str, Any], actions: int, limit: int | None
) -> None:
    environments = make_vector(environment, options, 2)
    rollout = collector(environments, 20).collect(random_action(actions))
    environments.close()
    ends = np.argwhere(~rollout.valid.numpy())
    assert len(ends) >= 2
    for t, b in ends:
        final, following = rollout.observations[t, b], rollout.observations[t + 1, b]
        before = rollout.observations[t - 1, b]
        assert rollout.first[t + 1, b]
        assert not rollout.first[t, b]
        if environment == "CartPole-v1":
            # the cart moves by its velocity times 0.02 s in every real step, also in the one that ends the episode
            assert float(final[0]) == pytest.approx(float(before[0] + 0.02 * before[1]), abs=1e-5)
            assert float(following.abs().max()) <= 0.05  # a reset draws from ± 0.05
        elif environment == "Acrobot-v1":
            assert float(following[4:].abs().max()) <= 0.1  # velocities after a reset
            assert float((final - following).abs().max()) > 0.01
        else:
            assert torch.equal(final[..., :3], before[..., 1:])  # the stack has moved on by one frame
            assert not following[..., :3].any()  # a new stack holds one frame
        if limit is not None:
            assert rollout.discounts[t - 1, b] == pytest.approx(0.9)  # truncated, not terminated
