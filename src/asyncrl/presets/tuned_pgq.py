"""PGQ's part of the tuned presets. The runs behind it, where there are any, are in `benchmarks/results`."""

from __future__ import annotations

from typing import Any

from asyncrl.algorithms.pgq import PGQ
from asyncrl.config import Experiment
from asyncrl.settings import NetworkSettings, OptimizerSettings


def catch(environment: str) -> Experiment:
    """Catch until every ball is caught."""
    return Experiment(
        environment,
        algorithm=PGQ(rollout_length=9, entropy_weight=0.01, replay_start=2_000, replay_capacity=50_000),
        network=NetworkSettings(hidden=(64,), initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=2e-3),
        steps=100_000,
        until_return=0.99,
        envs_per_worker=16,
    )


def catch_memory(environment: str) -> Experiment:
    """Catch where each ball is seen only once."""
    return Experiment(
        environment,
        algorithm=PGQ(rollout_length=10, entropy_weight=0.01, replay_start=2_000, replay_capacity=50_000),
        network=NetworkSettings(hidden=(64,), memory="lstm", memory_size=64, initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=2e-3),
        steps=100_000,
        envs_per_worker=16,
    )


def cartpole(environment: str) -> Experiment:
    """CartPole-v1 to its limit of 500."""
    return _vectors(environment, steps=120_000)


def acrobot(environment: str) -> Experiment:
    """Acrobot-v1: a first guess, whose greedy agent sometimes fails."""
    return _vectors(environment, steps=120_000, until_return=-85.0)


def minatar(environment: str) -> Experiment:
    """The five MinAtar games: a first guess."""
    return Experiment(
        environment,
        algorithm=PGQ(rollout_length=10, entropy_weight=0.01, batch_size=64),
        network=NetworkSettings(torso="minatar", initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=1e-3, max_gradient_norm=5.0),
        steps=1_000_000,
        envs_per_worker=16,
    )


def _vectors(environment: str, **settings: Any) -> Experiment:
    """Classic control: policy and value have separate networks, and observations are normalised."""
    return Experiment(
        environment,
        algorithm=PGQ(
            rollout_length=16, entropy_weight=1e-3, batch_size=64, replay_start=2_000, replay_capacity=50_000
        ),
        network=NetworkSettings(
            hidden=(64, 64), activation="tanh", initialization="orthogonal", separate=True, normalize_observations=True
        ),
        optimizer=OptimizerSettings(learning_rate=2e-3, max_gradient_norm=5.0),
        reward_scale=0.02,
        envs_per_worker=16,
        **settings,
    )
