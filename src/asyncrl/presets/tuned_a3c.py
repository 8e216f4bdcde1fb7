"""A3C's settings for the tuned presets."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Literal

from asyncrl.algorithms.a3c import A3C
from asyncrl.algorithms.actor_critic import ActorCritic
from asyncrl.config import Experiment
from asyncrl.settings import NetworkSettings, OptimizerSettings


def catch(environment: str) -> Experiment:
    """Catch: large rollouts of many environments, a high learning rate and few updates."""
    return Experiment(
        environment,
        algorithm=A3C(rollout_length=9, entropy_weight=0.01),
        network=NetworkSettings(hidden=(64,), initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=4e-3),
        steps=600_000,
        until_return=0.99,
        envs_per_worker=64,
    )


def catch_memory(environment: str) -> Experiment:
    """Catch where each ball is seen only once, with an LSTM."""
    return Experiment(
        environment,
        algorithm=A3C(rollout_length=10, entropy_weight=0.01),
        network=NetworkSettings(hidden=(64,), memory="lstm", memory_size=64, initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=3e-3),
        steps=400_000,
        envs_per_worker=32,
    )


def cartpole(environment: str) -> Experiment:
    """CartPole-v1."""
    return _vectors(
        environment,
        A3C(rollout_length=8, entropy_weight=0.001),
        3e-3,
        reward_scale=0.02,
        steps=400_000,
        envs_per_worker=64,
        activation="tanh",
    )


def acrobot(environment: str) -> Experiment:
    """Acrobot-v1. With ReLU it was not learned in any setting that was tried."""
    return _vectors(
        environment,
        A3C(rollout_length=5, entropy_weight=0.001),
        2e-3,
        reward_scale=0.02,
        steps=300_000,
        until_return=-85.0,
        activation="tanh",
    )


def lunarlander(environment: str) -> Experiment:
    """LunarLander-v3."""
    return _vectors(
        environment,
        A3C(rollout_length=32, discount=0.995, entropy_weight=0.002),
        2e-3,
        reward_scale=0.02,
        steps=2_000_000,
        until_return=220.0,
        envs_per_worker=8,
        hidden=(128, 128),
        activation="tanh",
    )


def minatar(environment: str) -> Experiment:
    """MinAtar."""
    return Experiment(
        environment,
        algorithm=A3C(rollout_length=10, entropy_weight=0.01),
        network=NetworkSettings(torso="minatar", initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=2e-3, max_gradient_norm=5.0),
        steps=2_000_000,
        envs_per_worker=16,
    )


def pendulum(environment: str) -> Experiment:
    """Pendulum-v1."""
    return _vectors(
        environment, A3C(rollout_length=10, discount=0.95, entropy_weight=1e-3), 3e-3, reward_scale=0.02, steps=600_000
    )


def mujoco(environment: str) -> Experiment:
    """MuJoCo tasks with state vectors."""
    return _vectors(
        environment,
        A3C(rollout_length=16, entropy_weight=1e-3),
        1e-3,
        reward_scale=0.05,
        steps=2_000_000,
        activation="tanh",
    )


def atari(environment: str) -> Experiment:
    """Atari games."""
    return Experiment(
        environment,
        algorithm=A3C(rollout_length=5, entropy_weight=0.004),
        network=NetworkSettings(torso="atari-2013", initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=7e-4, max_gradient_norm=2.5),
        reward_clip=1.0,
        steps=8_000_000,
        envs_per_worker=16,
    )


def vectors(environment: str) -> Experiment:
    """Environments without a preset that observe vectors."""
    return _vectors(
        environment,
        A3C(rollout_length=32, entropy_weight=1e-3, exploration_persistence=0.5),
        1e-3,
        reward_scale=0.1,
        steps=1_000_000,
        activation="tanh",
    )


def images(environment: str) -> Experiment:
    """Environments without a preset that observe images, with the network of Mnih et al. (2013) or MinAtar's."""
    return Experiment(
        environment,
        algorithm=A3C(rollout_length=16, entropy_weight=0.01),
        network=NetworkSettings(initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=7e-4, max_gradient_norm=2.5),
        steps=1_000_000,
        envs_per_worker=16,
    )


def _vectors(
    environment: str,
    a3c: A3C,
    learning_rate: float,
    *,
    hidden: tuple[int, ...] = (64, 64),
    activation: Literal["relu", "tanh"] = "relu",
    **settings: Any,
) -> Experiment:
    """A3C on vectors: policy and value have separate networks, and observations are normalised."""
    return Experiment(
        environment,
        algorithm=a3c,
        network=NetworkSettings(
            hidden=hidden,
            activation=activation,
            initialization="orthogonal",
            separate=True,
            normalize_observations=True,
        ),
        optimizer=OptimizerSettings(learning_rate=learning_rate, max_gradient_norm=5.0),
        **{"envs_per_worker": 16, **settings},
    )


def with_algorithm(experiment: Experiment, algorithm: type[ActorCritic], **settings: Any) -> Experiment:
    """The experiment with another algorithm, which takes over the settings that both have.

    Args:
        experiment: Any experiment.
        algorithm: Class of the other algorithm.
        settings: Settings that only the other algorithm has.
    """
    own = experiment.algorithm
    shared = {field.name: getattr(own, field.name) for field in fields(algorithm) if hasattr(own, field.name)}
    return replace(experiment, algorithm=algorithm(**shared, **settings))
