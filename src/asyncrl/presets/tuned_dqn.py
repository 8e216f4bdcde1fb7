"""DQN's settings for the tuned presets: double, dueling and with targets of three steps, each step learned four times.

Three steps of reward carry values back faster than one, at no cost. Environments with a larger final ε keep the steps
that a good agent no longer takes in the memory.
"""

from __future__ import annotations

from typing import Any, Literal

from asyncrl.algorithms.dqn import DQN
from asyncrl.config import Experiment
from asyncrl.settings import NetworkSettings, OptimizerSettings


def _dqn(**settings: Any) -> DQN:
    usual: dict[str, Any] = {
        "double": True,
        "dueling": True,
        "multi_step": 3,
        "replay_ratio": 4.0,
        "batch_size": 64,
        "target_interval": 1_000,
        "final_epsilons": (0.02, 0.1),
    }
    return DQN(**{**usual, **settings})


def catch(environment: str) -> Experiment:
    """Catch. Recurrent networks learn short sequences, so that they get as many updates from as few steps."""
    return Experiment(
        environment,
        algorithm=_dqn(
            batch_size=32,
            sequence_length=4,
            burn_in=0,
            replay_capacity=20_000,
            replay_start=1_000,
            target_interval=500,
            exploration_steps=10_000,
            final_epsilons=(0.01, 0.05, 0.2),
        ),
        network=NetworkSettings(hidden=(64,), initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=1e-3),
        steps=60_000,
        envs_per_worker=8,
    )


def catch_memory(environment: str) -> Experiment:
    """Catch where each ball is seen only once, with an LSTM.

    Ten steps are one game with the step that resets it, so every sequence begins with a game and needs no burn-in.
    """
    return Experiment(
        environment,
        algorithm=_dqn(
            rollout_length=10,
            sequence_length=10,
            burn_in=0,
            batch_size=16,
            replay_capacity=50_000,
            replay_start=2_000,
            exploration_steps=100_000,
            final_epsilons=(0.01, 0.1, 0.5),
        ),
        network=NetworkSettings(hidden=(64,), memory="lstm", memory_size=64, initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=2e-3),
        steps=300_000,
        envs_per_worker=16,
    )


def cartpole(environment: str) -> Experiment:
    """CartPole-v1. Prioritized replay reaches 475 on every seed, and earlier."""
    return _vectors(
        environment,
        _dqn(prioritized="proportional", replay_capacity=50_000, replay_start=2_000, exploration_steps=20_000),
        150_000,
    )


def acrobot(environment: str) -> Experiment:
    """Acrobot-v1."""
    return _vectors(environment, _dqn(replay_capacity=50_000, replay_start=2_000, exploration_steps=20_000), 150_000)


def lunarlander(environment: str) -> Experiment:
    """LunarLander-v3."""
    return _vectors(
        environment,
        _dqn(
            replay_ratio=8.0,
            replay_capacity=100_000,
            replay_start=5_000,
            exploration_steps=50_000,
            final_epsilons=(0.01, 0.05),
        ),
        400_000,
        hidden=(128, 128),
        activation="relu",
        learning_rate=5e-4,
        until_return=220.0,
    )


def minatar(environment: str) -> Experiment:
    """MinAtar."""
    return Experiment(
        environment,
        algorithm=_dqn(
            replay_ratio=8.0,
            replay_capacity=100_000,
            replay_start=5_000,
            target_interval=2_000,
            exploration_steps=100_000,
            final_epsilons=(0.01, 0.05),
        ),
        network=NetworkSettings(torso="minatar", initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=5e-4, max_gradient_norm=5.0),
        steps=1_000_000,
        envs_per_worker=8,
    )


def atari(environment: str) -> Experiment:
    """Atari games, with prioritized replay: 0.7 GB of memory for 100,000 frames."""
    return Experiment(
        environment,
        algorithm=_dqn(
            prioritized="proportional",
            batch_size=32,
            replay_capacity=100_000,
            replay_start=5_000,
            target_interval=2_000,
            exploration_steps=50_000,
            final_epsilons=(0.01, 0.05),
        ),
        network=NetworkSettings(torso="atari-2013", initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=2.5e-4, schedule="constant", max_gradient_norm=10.0),
        reward_clip=1.0,
        steps=2_000_000,
        envs_per_worker=8,
    )


def table(environment: str) -> Experiment:
    """Environments without a preset that observe the number of a state: a value for each state and action."""
    return Experiment(
        environment,
        algorithm=_dqn(
            dueling=False,
            discount=0.98,
            replay_capacity=50_000,
            replay_start=2_000,
            target_interval=500,
            final_epsilons=(0.001, 0.1, 0.3),
            exploration_steps=100_000,
        ),
        network=NetworkSettings(hidden=()),
        optimizer=OptimizerSettings(learning_rate=0.02, max_gradient_norm=1000.0),
        steps=300_000,
        envs_per_worker=16,
    )


def vectors(environment: str) -> Experiment:
    """Environments without a preset that observe vectors."""
    algorithm = _dqn(
        replay_capacity=100_000,
        replay_start=5_000,
        final_epsilons=(0.01, 0.1, 0.3),
        exploration_steps=50_000,
        exploration_persistence=0.9,
    )
    return _vectors(environment, algorithm, 300_000, reward_scale=0.1)


def images(environment: str) -> Experiment:
    """Environments without a preset that observe images, with the network of Mnih et al. (2013) or MinAtar's."""
    return Experiment(
        environment,
        algorithm=_dqn(
            batch_size=32,
            replay_capacity=50_000,
            replay_start=5_000,
            target_interval=2_000,
            exploration_steps=100_000,
            final_epsilons=(0.01, 0.1),
        ),
        network=NetworkSettings(initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=2.5e-4, max_gradient_norm=10.0),
        steps=1_000_000,
        envs_per_worker=8,
    )


def _vectors(
    environment: str,
    dqn: DQN,
    steps: int,
    *,
    hidden: tuple[int, ...] = (64, 64),
    activation: Literal["relu", "tanh"] = "tanh",
    learning_rate: float = 1e-3,
    reward_scale: float = 0.02,
    until_return: float | None = None,
) -> Experiment:
    """DQN on vectors, whose observations are normalised."""
    return Experiment(
        environment,
        algorithm=dqn,
        network=NetworkSettings(
            hidden=hidden, activation=activation, initialization="orthogonal", normalize_observations=True
        ),
        optimizer=OptimizerSettings(learning_rate=learning_rate, max_gradient_norm=5.0),
        reward_scale=reward_scale,
        steps=steps,
        until_return=until_return,
        envs_per_worker=8,
    )
