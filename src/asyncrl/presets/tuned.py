"""Settings found by trying on a machine with two cores; `benchmarks/results` has the runs."""

from asyncrl.algorithms.a3c import A3C
from asyncrl.config import Experiment, NetworkSettings, OptimizerSettings


def catch(environment: str) -> Experiment:
    """Catch until it is solved, in seconds."""
    return Experiment(
        environment,
        algorithm=A3C(rollout_length=9, entropy_weight=0.01),
        network=NetworkSettings(hidden=(64,), initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=5e-3),
        steps=400_000,
        until_return=0.99,
        envs_per_worker=32,
    )


def catch_memory(environment: str) -> Experiment:
    """Catch where the ball is seen once, for agents with an LSTM."""
    return Experiment(
        environment,
        algorithm=A3C(rollout_length=10, entropy_weight=0.01),
        network=NetworkSettings(hidden=(64,), memory="lstm", memory_size=64, initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=3e-3),
        steps=2_000_000,
        until_return=0.98,
        envs_per_worker=32,
    )


def cartpole(environment: str) -> Experiment:
    """CartPole-v1 to its limit of 500."""
    return Experiment(
        environment,
        algorithm=A3C(rollout_length=16, entropy_weight=0.01, value_weight=0.05),  # returns are large, so is the error
        network=NetworkSettings(hidden=(64, 64), initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=4e-3, max_gradient_norm=5.0),
        steps=500_000,
        until_return=485.0,
        envs_per_worker=8,
    )


def atari(environment: str) -> Experiment:
    """Atari games on a small machine, with the small network of 2013."""
    return Experiment(
        environment,
        algorithm=A3C(rollout_length=5, entropy_weight=0.01),
        network=NetworkSettings(torso="atari-2013", initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=7e-4, max_gradient_norm=2.5),
        reward_clip=1.0,
        steps=8_000_000,
        envs_per_worker=16,
    )


def default(environment: str) -> Experiment:
    """A starting point for any other environment."""
    return Experiment(
        environment,
        algorithm=A3C(rollout_length=16, entropy_weight=0.01),
        network=NetworkSettings(hidden=(64, 64), initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=1e-3),
        steps=1_000_000,
        envs_per_worker=16,
    )
