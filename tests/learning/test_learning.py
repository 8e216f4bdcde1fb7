"""Every method learns: the truth of a small decision process, Catch, and what only memory can solve."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from asyncrl.agent import load
from asyncrl.algorithms import ALGORITHMS
from asyncrl.api import train
from asyncrl.envs.make import describe
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.supervisor import Supervisor
from tests.experiments import PLAIN, small
from tests.pages import REPOSITORY

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
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path))
    supervisor.run([])
    supervisor.model.agent_tensors()
    network = supervisor.model.network
    observations = torch.eye(STATES).unsqueeze(0)
    outputs, _ = network(observations, (), torch.ones(1, STATES, dtype=torch.bool))
    assert outputs["policy"].argmax(-1)[0].tolist() == [1] * STATES
    # dynamic programming: V(s) = γ^(steps to the far end)
    truth = torch.tensor([0.95 ** (STATES - 1 - state) for state in range(STATES)])
    assert float((outputs["value"][0].detach() - truth).abs().max()) < 0.1


SLIP, GAMMA = 0.2, 0.9


class SlipperyChain(Chain):
    """The chain in which an action does its opposite with probability 0.2."""

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        slipped = self.np_random.random() < SLIP
        return super().step(np.int64(1 - action if slipped else action))


gymnasium.register(
    id="test/SlipperyChain-v0", entry_point="tests.learning.test_learning:SlipperyChain", max_episode_steps=30
)


def true_action_values(policy_epsilon: float | None) -> NDArray[np.float64]:
    """Q(s, a) [5, 2] by dynamic programming: of the best policy, or of the ε-greedy one if an ε is given."""
    values = np.zeros((STATES, 2))
    for _ in range(1000):
        best = values.max(1)
        following = best if policy_epsilon is None else (1 - policy_epsilon) * best + policy_epsilon * values.mean(1)
        left = np.array([0.1, *(GAMMA * following[:-1])])  # what moving left is worth from each state
        right = np.array([*(GAMMA * following[1:]), 1.0])
        values = np.stack([(1 - SLIP) * left + SLIP * right, (1 - SLIP) * right + SLIP * left], 1)
    return values


VALUES: list[tuple[str, dict[str, Any], float | None]] = [
    ("onestep-q", {"target_interval": 500}, None),
    ("onestep-q", {"target_interval": 500, "double": True, "dueling": True}, None),
    ("sarsa", {"target_interval": 500}, 0.3),  # learns the values of the policy that it follows
    # its rewards on the way are those of its policy too: act greedily in the end
    ("nstep-q", {"target_interval": 500}, 0.0),
]
PQN: list[tuple[str, dict[str, Any], float | None]] = [
    ("pqn", {"q_lambda": 0.0, "epochs": 2, "minibatches": 2}, None),
    ("pqn", {"q_lambda": 0.65, "epochs": 2, "minibatches": 2}, 0.0),  # as n-step Q
]


@pytest.mark.parametrize(
    ("algorithm", "settings", "epsilon", "workers"),
    [(*case, workers) for case in VALUES for workers in (1, 3)] + [(*case, 1) for case in PQN],
)
def test_action_values_reach_those_of_dynamic_programming(
    tmp_path: Path, algorithm: str, settings: dict[str, Any], epsilon: float | None, workers: int
) -> None:
    experiment = small(
        "test/SlipperyChain-v0",
        algorithm,
        workers=workers,
        steps=60_000,
        envs_per_worker=16,
        rollout_length=4,
        discount=GAMMA,
        hidden=(32,),
        learning_rate=0.005,
        final_epsilons=(0.3 if epsilon is None else epsilon,),
        exploration_steps=30_000,
        **settings,
    )
    supervisor = Supervisor(experiment, describe(experiment), RunFolder(tmp_path))
    supervisor.run([])
    observations = torch.eye(STATES).unsqueeze(0)
    supervisor.model.agent_tensors()
    outputs, _ = supervisor.model.network(observations, (), torch.ones(1, STATES, dtype=torch.bool))
    learned, truth = outputs["q"][0].detach().numpy(), true_action_values(epsilon)
    chosen = truth.argmax(1)
    assert (learned.argmax(1) == chosen).all()
    if epsilon == 0.0:  # actions that a greedy policy never takes are not learned
        learned, truth = learned[np.arange(STATES), chosen], truth[np.arange(STATES), chosen]
    assert np.abs(learned - truth).max() < MAX_ERROR


MAX_ERROR = 0.05


CATCH = [
    *((name, "none") for name in ALGORITHMS),
    *(("a3c", "lstm"), ("nstep-q", "gru"), ("onestep-q", "lstm"), ("sarsa", "gru")),
    *(("dqn", "lstm"), ("pqn", "gru"), ("ppo", "lstm")),
]
"""Every algorithm without memory. Those of 2016, and those that replay or shuffle sequences, also with one kind."""
OTHER_MEMORY = [("a3c", "gru"), ("nstep-q", "lstm"), ("onestep-q", "gru"), ("sarsa", "lstm")]


@pytest.mark.parametrize(
    ("algorithm", "memory"), [*CATCH, *(pytest.param(*case, marks=pytest.mark.long) for case in OTHER_MEMORY)]
)
def test_catch_with_real_workers(in_tmp: Path, algorithm: str, memory: Literal["none", "lstm", "gru"]) -> None:
    result = train("Catch", algorithm=algorithm, memory=memory, workers=2, run_dir="run")
    assert result.summary["steps"] < 500_000
    assert load("run").evaluate(episodes=200, deterministic=True).return_mean >= 0.95  # chance is -0.6


@pytest.mark.timeout(250)
def test_the_example_of_reinforce_learns_catch(in_tmp: Path) -> None:
    file = REPOSITORY / "examples" / "reinforce.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(file)], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert float(done.stdout.split()[-1]) >= 0.9  # chance is -0.6


@pytest.mark.parametrize("memory", ["none", "lstm", "gru"])
def test_what_only_two_keys_together_say(in_tmp: Path, memory: Literal["none", "lstm", "gru"]) -> None:
    result = train(
        "tests.environments:test/Sides-v0",
        runtime="serial",
        workers=1,
        run_dir="run",
        memory=memory,
        torso="mlp",
        hidden=(32,),
        memory_size=32,
        steps=12_000,
        rollout_length=5,
        discount=0.5,
        activation="tanh",
        **{**PLAIN, "learning_rate": 0.005},
    )
    assert result.load().evaluate(episodes=20, deterministic=True).return_mean > 19.5  # chance is 10


ENTROPY: dict[str, Any] = {"entropy_weight": 1e-3, "reward_scale": 1.0, "rollout_length": 8}


@pytest.mark.parametrize(
    ("environment", "algorithm", "steps", "settings", "goal"),
    [
        ("tests.environments:test/Levers-v0", "a3c", 120_000, ENTROPY, 0.8 * 2 * 5),
        ("tests.environments:test/Reach-v0", "a3c", 120_000, ENTROPY, -0.5 * 5),
        ("tests.environments:test/Reach-v0", "ppo", 40_000, {}, -0.5 * 5),  # what the default preset chooses
    ],
)
def test_several_and_continuous_actions(
    in_tmp: Path, environment: str, algorithm: str, steps: int, settings: dict[str, Any], goal: float
) -> None:
    # episodes have 5 steps on average; Levers pays 2 a step to the perfect agent and 1 to a random one, Reach costs
    # 0 and about 2.4 (a Gaussian of standard deviation 0.83 around the middle, in units of half the range)
    result = train(environment, algorithm=algorithm, workers=2, run_dir="run", steps=steps, **settings)
    assert result.load().evaluate(episodes=200, deterministic=True).return_mean > goal


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
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_cartpole(in_tmp: Path, algorithm: str, seed: int) -> None:
    train("CartPole-v1", algorithm=algorithm, seed=seed, workers=2, run_dir="run")
    assert load("run").evaluate(episodes=100, deterministic=True).return_mean >= 475


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("environment", "algorithm", "steps", "score"),
    [
        ("Acrobot-v1", "a3c", 300_000, -100),
        ("Acrobot-v1", "nstep-q", 500_000, -150),
        ("LunarLander-v3", "a3c", 2_000_000, 200),
        ("LunarLander-v3", "nstep-q", 1_000_000, 150),
        ("Pendulum-v1", "a3c", 600_000, -200),
        ("Pendulum-v1", "acer", 100_000, -200),
        ("InvertedPendulum-v5", "a3c", 500_000, 900),
        ("HalfCheetah-v5", "a3c", 1_000_000, 800),
        ("MinAtar/Breakout-v1", "nstep-q", 500_000, 3),
    ],
)
def test_real_tasks(in_tmp: Path, environment: str, algorithm: str, steps: int, score: float) -> None:
    train(environment, algorithm=algorithm, steps=steps, workers=2, run_dir="run")
    assert load("run").evaluate(episodes=30, deterministic=True).return_mean >= score
