"""PQN's presets tuned on a machine with two cores. The runs behind them are in `benchmarks/results`."""

from __future__ import annotations

from typing import Any

from asyncrl.algorithms.pqn import PQN
from asyncrl.config import Experiment
from asyncrl.settings import NetworkSettings, OptimizerSettings


def catch(environment: str) -> Experiment:
    """Catch until every ball is caught."""
    return _tuned(
        environment,
        PQN(rollout_length=10, epochs=2, minibatches=4, final_epsilons=(0.01, 0.05, 0.2), exploration_steps=40_000),
        NetworkSettings(hidden=(64,), layer_norm=True, initialization="orthogonal"),
        learning_rate=2e-3,
        steps=100_000,
        envs_per_worker=32,
    )


def catch_memory(environment: str) -> Experiment:
    """Catch where each ball is seen only once, so that the agent needs a memory."""
    return _tuned(
        environment,
        PQN(rollout_length=10, epochs=2, minibatches=4, final_epsilons=(0.01, 0.1, 0.5), exploration_steps=150_000),
        NetworkSettings(hidden=(64,), layer_norm=True, memory="lstm", memory_size=64, initialization="orthogonal"),
        learning_rate=2e-3,
        steps=400_000,
        envs_per_worker=32,
    )


def cartpole(environment: str) -> Experiment:
    """CartPole-v1 to its limit of 500."""
    return _vectors(environment, final_epsilons=(0.01, 0.05, 0.2), exploration_steps=100_000, steps=300_000)


def acrobot(environment: str) -> Experiment:
    """Acrobot-v1."""
    return _vectors(environment, final_epsilons=(0.05,), exploration_steps=100_000, steps=300_000)


def lunarlander(environment: str) -> Experiment:
    """LunarLander-v3, which counts as solved at a mean return of 200."""
    return _vectors(environment, final_epsilons=(0.01,), exploration_steps=300_000, steps=500_000)


def minatar(environment: str) -> Experiment:
    """The five MinAtar games, with the convolutional network of the MinAtar paper."""
    return _images(environment, "minatar", (0.05, 0.01), steps=2_000_000, exploration_steps=200_000)


def atari(environment: str) -> Experiment:
    """Atari games on a small machine, with the small convolutional network of Mnih et al. (2013)."""
    return _images(environment, "atari-2013", (0.01,), steps=8_000_000, exploration_steps=1_000_000, reward_clip=1.0)


def vectors(environment: str) -> Experiment:
    """Vectors and discrete actions."""
    return _vectors(
        environment,
        final_epsilons=(0.01, 0.1, 0.3),
        exploration_steps=200_000,
        exploration_persistence=0.9,
        steps=500_000,
    )


def images(environment: str) -> Experiment:
    """Images and discrete actions."""
    return _images(environment, "auto", (0.01, 0.1), steps=1_000_000, exploration_steps=200_000)


def _vectors(environment: str, *, steps: int, **algorithm: Any) -> Experiment:
    """Settings for vectors."""
    return _tuned(
        environment,
        PQN(rollout_length=32, q_lambda=0.95, epochs=2, minibatches=16, **algorithm),
        NetworkSettings(hidden=(128, 128), layer_norm=True, initialization="orthogonal", normalize_observations=True),
        learning_rate=1e-3,
        reward_scale=0.1,
        steps=steps,
        envs_per_worker=32,
    )


def _images(
    environment: str, torso: str, final_epsilons: tuple[float, ...], *, exploration_steps: int, **settings: Any
) -> Experiment:
    """Settings for images."""
    return _tuned(
        environment,
        PQN(
            rollout_length=32,
            epochs=2,
            minibatches=16,
            final_epsilons=final_epsilons,
            exploration_steps=exploration_steps,
        ),
        NetworkSettings(torso=torso, layer_norm=True, initialization="orthogonal"),
        learning_rate=5e-4,
        envs_per_worker=32,
        **settings,
    )


def _tuned(
    environment: str, algorithm: PQN, network: NetworkSettings, *, learning_rate: float, **settings: Any
) -> Experiment:
    return Experiment(
        environment,
        algorithm=algorithm,
        network=network,
        optimizer=OptimizerSettings(learning_rate=learning_rate, max_gradient_norm=10.0),
        **settings,
    )
