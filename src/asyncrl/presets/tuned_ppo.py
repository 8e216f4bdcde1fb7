"""PPO's settings for the tuned presets: rollouts of 1,000 to 2,000 steps, learned a few times with shared Adam."""

from __future__ import annotations

from typing import Any

from asyncrl.algorithms.ppo import PPO
from asyncrl.config import Experiment
from asyncrl.settings import NetworkSettings, OptimizerSettings


def _vectors(environment: str, ppo: PPO, steps: int, learning_rate: float = 1e-3, **settings: Any) -> Experiment:
    """Policy and value have separate networks, and observations and rewards are normalised."""
    return Experiment(
        environment,
        algorithm=ppo,
        network=NetworkSettings(
            hidden=(64, 64), activation="tanh", initialization="orthogonal", separate=True, normalize_observations=True
        ),
        optimizer=OptimizerSettings(learning_rate=learning_rate, max_gradient_norm=0.5),
        normalize_rewards=True,
        steps=steps,
        envs_per_worker=16,
        **settings,
    )


def vectors(environment: str) -> Experiment:
    """Vectors in environments without a preset of their own. The noise behind actions is correlated."""
    ppo = PPO(rollout_length=64, epochs=5, minibatches=8, exploration_persistence=0.5)
    return _vectors(environment, ppo, steps=1_000_000)


def cartpole(environment: str) -> Experiment:
    """CartPole-v1 to its limit of 500."""
    return _vectors(environment, PPO(rollout_length=32, epochs=10, minibatches=2, gae_lambda=0.8), steps=200_000)


def acrobot(environment: str) -> Experiment:
    """Acrobot-v1: swings up in fewer than 100 steps."""
    return _vectors(environment, PPO(rollout_length=64, epochs=4, minibatches=8), steps=300_000)


def lunarlander(environment: str) -> Experiment:
    """LunarLander-v3, with discrete or continuous thrust."""
    ppo = PPO(rollout_length=128, epochs=4, minibatches=16, discount=0.999, gae_lambda=0.98, entropy_weight=0.01)
    return _vectors(environment, ppo, steps=1_000_000)


def pendulum(environment: str) -> Experiment:
    """Pendulum-v1: swings the pendulum up and balances it."""
    ppo = PPO(rollout_length=64, epochs=10, minibatches=8, discount=0.9)
    return _vectors(environment, ppo, steps=200_000)


def mujoco(environment: str) -> Experiment:
    """MuJoCo tasks with state vectors."""
    return _vectors(environment, PPO(rollout_length=128, epochs=10, minibatches=32), 1_000_000, learning_rate=3e-4)


def _images(environment: str, ppo: PPO, torso: str | None = None, **settings: Any) -> Experiment:
    network = NetworkSettings(initialization="orthogonal")
    if torso is not None:
        network = NetworkSettings(torso=torso, initialization="orthogonal")
    return Experiment(
        environment,
        algorithm=ppo,
        network=network,
        optimizer=OptimizerSettings(learning_rate=5e-4, max_gradient_norm=0.5),
        envs_per_worker=16,
        **settings,
    )


def catch(environment: str) -> Experiment:
    """Catch until every ball is caught."""
    return Experiment(
        environment,
        algorithm=PPO(rollout_length=18, epochs=4, minibatches=4, entropy_weight=0.01),
        network=NetworkSettings(hidden=(64,), initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=2e-3),
        steps=200_000,
        until_return=0.99,
        envs_per_worker=32,
    )


def catch_memory(environment: str) -> Experiment:
    """Catch where each ball is seen only once."""
    return Experiment(
        environment,
        algorithm=PPO(rollout_length=20, epochs=4, minibatches=4, entropy_weight=0.01),
        network=NetworkSettings(hidden=(64,), memory="lstm", memory_size=64, initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=2e-3),
        steps=300_000,
        envs_per_worker=32,
    )


def minatar(environment: str) -> Experiment:
    """The five MinAtar games."""
    ppo = PPO(rollout_length=64, epochs=3, minibatches=8, clip_range=0.1, entropy_weight=0.01)
    return _images(environment, ppo, "minatar", steps=1_000_000)


def atari(environment: str) -> Experiment:
    """Atari games with the small convolutional network of Mnih et al. (2013)."""
    ppo = PPO(rollout_length=64, epochs=3, minibatches=8, clip_range=0.1, entropy_weight=0.01)
    return _images(environment, ppo, "atari-2013", steps=4_000_000, reward_clip=1.0)


def images(environment: str) -> Experiment:
    """Images in environments without a preset of their own."""
    ppo = PPO(rollout_length=64, epochs=3, minibatches=8, clip_range=0.1, entropy_weight=0.01)
    return _images(environment, ppo, steps=1_000_000)
