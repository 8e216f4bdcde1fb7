"""Lost lives: where credit ends, and that nothing else does."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv

from asyncrl.envs.make import describe, make_environments
from asyncrl.errors import UserError
from asyncrl.runtime.collector import Collector
from asyncrl.runtime.rollout_buffer import RolloutRules
from asyncrl.types import Decision, Episode, Rollout
from tests.environments import Clock
from tests.experiments import small

LENGTH = 50


class Lives(Clock):
    """Episodes are cut off after four steps; the second step loses a life. Each game begins with three lives less."""

    def __init__(self, silent: bool = False, render_mode: str | None = None) -> None:
        super().__init__(length=4, truncate=True, render_mode=render_mode)
        self.silent, self.begin = silent, 10

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.begin -= 3
        self.lives = self.begin
        return super().reset(seed=seed, options=options)[0], {} if self.silent else {"lives": self.lives}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, _ = super().step(action)
        self.lives -= int(self.view[1] == 2)
        return observation, reward, terminated, truncated, {"lives": self.lives}


gymnasium.register(id="test/Lives-v0", entry_point=Lives)


def vector(environment: str, count: int, setting: bool = True, **options: Any) -> VectorEnv[Any, Any, Any]:
    experiment = dataclasses.replace(small(environment), environment_options=options)
    return make_environments(dataclasses.replace(experiment, zero_discount_on_life_loss=setting), count)


def collector(environments: VectorEnv[Any, Any, Any], length: int = LENGTH, **settings: Any) -> Collector:
    return Collector(environments, (), RolloutRules(length, 0.9), seed=0, **settings)


def random_policy(gatherer: Collector, seed: int = 0) -> Any:
    actions, random = gatherer.codec.sizes[0], torch.Generator().manual_seed(seed)
    return lambda observations, s, first: Decision(torch.randint(actions, first.shape, generator=random), s)


def played(environments: VectorEnv[Any, Any, Any], rollouts: int) -> tuple[list[Rollout], list[Episode]]:
    """Copies of some rollouts, and the episodes that ended in them."""
    gatherer, episodes = collector(environments), list[Episode]()
    policy, kept = random_policy(gatherer), []
    for _ in range(rollouts):
        rollout = gatherer.collect(policy)
        kept.append(rollout.kept())
        episodes += gatherer.pop_finished()
    environments.close()
    return kept, episodes


def test_a_lost_life_ends_credit_and_nothing_else() -> None:
    plain, episodes = played(vector("ALE/Breakout-v5", 2, setting=False), rollouts=12)
    with_setting, same_episodes = played(vector("ALE/Breakout-v5", 2), rollouts=12)
    assert same_episodes == episodes  # the reported returns are those of whole games
    assert len(episodes) >= 4
    for one, other in zip(plain, with_setting, strict=True):
        for name in ("observations", "rewards", "valid", "first"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
    before, after = (torch.cat([rollout.discounts for rollout in rollouts]) for rollouts in (plain, with_setting))
    assert torch.equal(after[before == 0], before[before == 0])
    first = torch.cat([rollout.first[:-1] for rollout in with_setting])
    for column in range(2):
        starts = first[:, column].nonzero().flatten().tolist()
        for start, end in itertools.pairwise(starts):
            assert int((before[start:end, column] == 0).sum()) == 1
            assert int((after[start:end, column] == 0).sum()) == 5  # Breakout has five lives


def test_a_new_episode_with_fewer_lives_loses_none() -> None:
    rollout = collector(vector("test/Lives-v0", 1), length=12).collect(lambda o, s, first: Decision(first.long(), s))
    assert rollout.valid[:, 0].tolist() == [True, True, True, True, False] * 2 + [True, True]
    lost = [t for t in range(12) if rollout.discounts[t, 0] == 0]
    assert lost == [1, 6, 11]
    assert rollout.discounts[3, 0] == pytest.approx(0.9)  # a time limit still bootstraps


def test_lives_are_known_again_after_a_restore() -> None:
    whole = collector(vector("ALE/Breakout-v5", 2), 30, keep_actions=True)
    policy = random_policy(whole)
    whole.collect(policy)
    snapshot = whole.snapshot()
    expected = whole.collect(policy)
    assert (expected.discounts == 0).any()
    restored, again = collector(vector("ALE/Breakout-v5", 2), 30, keep_actions=True), random_policy(whole)
    for _ in range(30):
        again(None, (), torch.zeros(1, 2))
    assert restored.restore(snapshot)
    assert torch.equal(restored.collect(again).discounts, expected.discounts)


@pytest.mark.parametrize(
    ("environment", "options"), [("CartPole-v1", {}), ("Acrobot-v1", {}), ("test/Lives-v0", {"silent": True})]
)
def test_an_environment_without_lives_is_refused(environment: str, options: dict[str, Any]) -> None:
    experiment = dataclasses.replace(small(environment), environment_options=options)
    describe(experiment)
    with pytest.raises(UserError, match=f"{environment} reports no lives .*: leave out --zero-discount-on-life-loss"):
        describe(dataclasses.replace(experiment, zero_discount_on_life_loss=True))
