"""A3C learns: the optimal actions of a small decision process, Catch, and what only memory can solve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from asyncrl.agent import load
from asyncrl.envs.make import describe
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.supervisor import Supervisor
from asyncrl.training import train
from tests.experiments import small

STATES = 5


class Chain(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Five states in a row; right leads to 1 at the far end, left to 0.1 at once at the near one.

    With γ = 0.95 the far reward is worth more than 0.1 from every state, so the optimal action is right everywhere;
    an agent that looks one step ahead goes left.
    """

    def __init__(self, render_mode: str | None = None) -> None:
        self.observation_space = Box(0, 1, (STATES,), np.float32)
        self.action_space = Discrete(2)
        self.state = 0

    def observe(self) -> NDArray[np.float32]:
        return np.eye(STATES, dtype=np.float32)[self.state]

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(STATES))
        return self.observe(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        if action == 0:
            if self.state == 0:
                return self.observe(), 0.1, True, False, {}
            self.state -= 1
        else:
            if self.state == STATES - 1:
                return self.observe(), 1.0, True, False, {}
            self.state += 1
        return self.observe(), 0.0, False, False, {}


gymnasium.register(id="test/Chain-v0", entry_point="tests.learning.test_learning:Chain", max_episode_steps=30)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_optimal_policy_and_its_values_on_a_chain(tmp_path: Path, workers: int) -> None:
    experiment = small(
        "test/Chain-v0",
        workers=workers,
        steps=30_000,
        envs_per_worker=8,
        discount=0.95,
        learning_rate=0.01,
        entropy_weight=0.001,
    )
    supervisor = Supervisor(experiment, describe(experiment.environment, {}), RunFolder(tmp_path))
    supervisor.run([])
    network = supervisor.network
    observations = torch.eye(STATES).unsqueeze(0)
    outputs, _ = network(observations, (), torch.ones(1, STATES, dtype=torch.bool))
    assert outputs["policy"].argmax(-1)[0].tolist() == [1] * STATES
    # dynamic programming: V(s) = γ^(steps to the far end)
    truth = torch.tensor([0.95 ** (STATES - 1 - state) for state in range(STATES)])
    assert float((outputs["value"][0].detach() - truth).abs().max()) < 0.1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_catch_with_real_workers(in_tmp: Path, seed: int) -> None:
    result = train("Catch", seed=seed, workers=2, run_dir="run")
    assert result.summary["ended_by"] == "goal"
    assert result.summary["steps"] < 400_000
    assert load("run").evaluate(episodes=200, deterministic=True).return_mean >= 0.99


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_memory_is_needed_and_suffices(in_tmp: Path, seed: int) -> None:
    train("CatchMemory", seed=seed, workers=2, run_dir="lstm")
    assert load("lstm").evaluate(episodes=500, deterministic=True).return_mean >= 0.9
    train("CatchMemory", seed=seed, workers=2, run_dir="none", memory="none", steps=300_000)
    assert load("none").evaluate(episodes=500, deterministic=True).return_mean < 0.0


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cartpole(in_tmp: Path, seed: int) -> None:
    train("CartPole-v1", seed=seed, workers=2, run_dir="run")
    assert load("run").evaluate(episodes=100).return_mean >= 475
