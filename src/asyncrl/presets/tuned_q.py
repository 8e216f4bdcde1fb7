"""Settings of n-step Q, 1-step Q and Sarsa for the tuned presets."""

from __future__ import annotations

from asyncrl.algorithms import VALUE_BASED
from asyncrl.config import Experiment
from asyncrl.settings import NetworkSettings, OptimizerSettings


def catch(environment: str, algorithm: str) -> Experiment:
    """Catch.

    Many moves have the same value, so the greedy policy of a Q method wanders among them. Environments with a larger
    final ε keep all states in the updates, and the learning rate falls to zero within a short run.
    """
    return Experiment(
        environment,
        algorithm=VALUE_BASED[algorithm](
            rollout_length=9, target_interval=2_000, final_epsilons=(0.01, 0.05, 0.2), exploration_steps=50_000
        ),
        network=NetworkSettings(hidden=(64,), initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=2e-3),
        steps=200_000,
        envs_per_worker=32,
    )


def catch_memory(environment: str, algorithm: str) -> Experiment:
    """Catch where each ball is seen only once, with an LSTM."""
    return Experiment(
        environment,
        algorithm=VALUE_BASED[algorithm](
            rollout_length=10, target_interval=2_000, final_epsilons=(0.01, 0.1, 0.5), exploration_steps=300_000
        ),
        network=NetworkSettings(hidden=(64,), memory="lstm", memory_size=64, initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=2e-3),
        steps=800_000,
        envs_per_worker=32,
    )


def cartpole(environment: str, algorithm: str) -> Experiment:
    """CartPole-v1.

    While a policy balances the pole, almost all actions have the same value, so the greedy policy of a Q method drifts
    and the cart leaves the track. Many environments with different ε keep states near the edges in every update. A
    target network that is copied often carries the value of a failure back over the 100 steps before it.
    """
    return Experiment(
        environment,
        algorithm=VALUE_BASED[algorithm](
            rollout_length=4,
            target_interval=1_000,
            # n-step returns contain the rewards after random actions: fewer of these keep its values closer to greedy
            final_epsilons=(0.01, 0.05, 0.2) if algorithm == "nstep-q" else (0.01, 0.1, 0.5),
            exploration_steps=100_000,
            double=algorithm != "sarsa",
            dueling=True,
        ),
        network=NetworkSettings(
            hidden=(64, 64), activation="tanh", initialization="orthogonal", normalize_observations=True
        ),
        optimizer=OptimizerSettings(learning_rate=1e-3, max_gradient_norm=10.0),
        reward_scale=0.1,
        steps=1_000_000 if algorithm == "nstep-q" else 500_000,
        envs_per_worker=64,
    )


def acrobot(environment: str, algorithm: str) -> Experiment:
    """Acrobot-v1. The one-step methods use tanh: with ReLU they did not learn it in any setting that was tried."""
    one_step = algorithm in ("onestep-q", "sarsa")
    return Experiment(
        environment,
        algorithm=VALUE_BASED[algorithm](
            rollout_length=4 if one_step else 16,
            target_interval=500 if one_step else 2_000,
            final_epsilons=(0.05,),
            exploration_steps=100_000,
        ),
        network=NetworkSettings(
            hidden=(64, 64),
            activation="tanh" if one_step else "relu",
            initialization="orthogonal",
            normalize_observations=True,
        ),
        optimizer=OptimizerSettings(learning_rate=1e-3, max_gradient_norm=5.0),
        reward_scale=0.02,
        steps=500_000,
        envs_per_worker=8,
    )


def lunarlander(environment: str, algorithm: str) -> Experiment:
    """LunarLander-v3."""
    return Experiment(
        environment,
        algorithm=VALUE_BASED[algorithm](
            rollout_length=8 if algorithm == "nstep-q" else 4,
            target_interval=2_000,
            final_epsilons=(0.01,),
            exploration_steps=300_000,
            double=algorithm != "sarsa",
        ),
        network=NetworkSettings(hidden=(128, 128), initialization="orthogonal", normalize_observations=True),
        optimizer=OptimizerSettings(learning_rate=1e-3, max_gradient_norm=5.0),
        reward_scale=0.02,
        steps=1_000_000,
        until_return=220.0,
        envs_per_worker=16,
    )


def minatar(environment: str, algorithm: str) -> Experiment:
    """MinAtar."""
    return Experiment(
        environment,
        algorithm=VALUE_BASED[algorithm](
            rollout_length=10, target_interval=10_000, final_epsilons=(0.05, 0.01), exploration_steps=200_000
        ),
        network=NetworkSettings(torso="minatar", initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=1e-3, max_gradient_norm=5.0),
        steps=2_000_000,
        envs_per_worker=16,
    )


def atari(environment: str, algorithm: str) -> Experiment:
    """Atari games."""
    return Experiment(
        environment,
        algorithm=VALUE_BASED[algorithm](rollout_length=5, target_interval=40_000, exploration_steps=1_000_000),
        network=NetworkSettings(torso="atari-2013", initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=7e-4, max_gradient_norm=2.5),
        reward_clip=1.0,
        steps=8_000_000,
        envs_per_worker=16,
    )


def table(environment: str, algorithm: str) -> Experiment:
    """Environments without a preset that observe the number of a state.

    Each state and action has a value of its own, as in a table: one linear layer on the one-hot state. Values begin
    near 0. Where rewards are negative that is optimistic, so greedy actions try everything.
    """
    return Experiment(
        environment,
        algorithm=VALUE_BASED[algorithm](
            rollout_length=4,
            discount=0.98,
            target_interval=100,
            final_epsilons=(0.001, 0.1, 0.3),
            exploration_steps=200_000,
        ),
        network=NetworkSettings(hidden=()),
        optimizer=OptimizerSettings(learning_rate=0.05, max_gradient_norm=1000.0),
        steps=1_000_000,
        envs_per_worker=32,
    )


def vectors(environment: str, algorithm: str) -> Experiment:
    """Environments without a preset that observe vectors, and images too."""
    return Experiment(
        environment,
        algorithm=VALUE_BASED[algorithm](
            rollout_length=4,
            target_interval=500,
            final_epsilons=(0.01, 0.1, 0.3),
            exploration_steps=200_000,
            exploration_persistence=0.9,
        ),
        network=NetworkSettings(
            hidden=(64, 64), activation="tanh", initialization="orthogonal", normalize_observations=True
        ),
        optimizer=OptimizerSettings(learning_rate=1e-3, max_gradient_norm=10.0),
        reward_scale=0.1,
        steps=1_000_000,
        envs_per_worker=16,
    )
