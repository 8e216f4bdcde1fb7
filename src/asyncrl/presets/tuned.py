"""Presets tuned on a machine with two cores. The runs behind them are in `benchmarks/results`."""

from __future__ import annotations

from typing import Any, Literal

from asyncrl.algorithms import VALUE_BASED
from asyncrl.algorithms.a3c import A3C
from asyncrl.algorithms.base import Algorithm
from asyncrl.config import Experiment
from asyncrl.presets import tuned_acer
from asyncrl.settings import NetworkSettings, OptimizerSettings
from asyncrl.types import Kind

MUJOCO = tuple(
    f"{name}-v*"
    for name in (
        "Ant",
        "HalfCheetah",
        "Hopper",
        "Humanoid",
        "HumanoidStandup",
        "InvertedDoublePendulum",
        "InvertedPendulum",
        "Pusher",
        "Reacher",
        "Swimmer",
        "Walker2d",
    )
)


def _method(algorithm: str, a3c: A3C, **value_based: Any) -> Algorithm:
    """Returns `a3c`, or the value-based method of that name with the settings `value_based`."""
    return a3c if algorithm == "a3c" else VALUE_BASED[algorithm](**value_based)


def catch(environment: str, algorithm: str) -> Experiment:
    """Catch until every ball is caught, in seconds.

    Many moves in Catch have the same value, so the greedy policy of a Q method wanders among them. Environments with a
    larger final ε keep all states in the updates, and the learning rate falls to zero within a short run.
    """
    if algorithm == "acer":
        return tuned_acer.catch(environment)
    if algorithm == "a3c":
        return Experiment(
            environment,
            algorithm=A3C(rollout_length=9, entropy_weight=0.01),
            network=NetworkSettings(hidden=(64,), initialization="orthogonal"),
            optimizer=OptimizerSettings(learning_rate=4e-3),
            steps=600_000,
            until_return=0.99,
            envs_per_worker=64,
        )
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
    """Catch where each ball is seen only once, so that the agent needs a memory."""
    if algorithm == "acer":
        return tuned_acer.catch_memory(environment)
    network = NetworkSettings(hidden=(64,), memory="lstm", memory_size=64, initialization="orthogonal")
    if algorithm == "a3c":
        return Experiment(
            environment,
            algorithm=A3C(rollout_length=10, entropy_weight=0.01),
            network=network,
            optimizer=OptimizerSettings(learning_rate=3e-3),
            steps=400_000,
            envs_per_worker=32,
        )
    return Experiment(
        environment,
        algorithm=VALUE_BASED[algorithm](
            rollout_length=10, target_interval=2_000, final_epsilons=(0.01, 0.1, 0.5), exploration_steps=300_000
        ),
        network=network,
        optimizer=OptimizerSettings(learning_rate=2e-3),
        steps=800_000,
        envs_per_worker=32,
    )


def cartpole(environment: str, algorithm: str) -> Experiment:
    """CartPole-v1 to its limit of 500.

    While a policy balances the pole, almost all actions have the same value, so the greedy policy of a Q method drifts
    and the cart leaves the track. Many environments with different ε keep states near the edges in every update. A
    target network that is copied often carries the value of a failure back over the 100 steps before it.
    """
    if algorithm == "acer":
        return tuned_acer.cartpole(environment)
    if algorithm == "a3c":
        return Experiment(
            environment,
            algorithm=A3C(rollout_length=8, entropy_weight=0.001),
            network=NetworkSettings(
                hidden=(64, 64),
                activation="tanh",
                initialization="orthogonal",
                separate=True,
                normalize_observations=True,
            ),
            optimizer=OptimizerSettings(learning_rate=3e-3, max_gradient_norm=5.0),
            reward_scale=0.02,
            steps=400_000,
            envs_per_worker=64,
        )
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
    """Acrobot-v1: swings up in fewer than 100 steps.

    A3C and the one-step methods use tanh: with ReLU they did not learn the task in any setting that was tried.
    """
    one_step = algorithm in ("onestep-q", "sarsa")
    if algorithm == "a3c":
        return Experiment(
            environment,
            algorithm=A3C(rollout_length=5, entropy_weight=0.001),
            network=NetworkSettings(
                activation="tanh", initialization="orthogonal", separate=True, normalize_observations=True
            ),
            optimizer=OptimizerSettings(learning_rate=2e-3, max_gradient_norm=5.0),
            reward_scale=0.02,
            steps=300_000,
            until_return=-85.0,
            envs_per_worker=16,
        )
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
    """LunarLander-v3, which counts as solved at a mean return of 200."""
    if algorithm == "a3c":
        return Experiment(
            environment,
            algorithm=A3C(rollout_length=32, discount=0.995, entropy_weight=0.002),
            network=NetworkSettings(
                hidden=(128, 128),
                activation="tanh",
                initialization="orthogonal",
                separate=True,
                normalize_observations=True,
            ),
            optimizer=OptimizerSettings(learning_rate=2e-3, max_gradient_norm=5.0),
            reward_scale=0.02,
            steps=2_000_000,
            until_return=220.0,
            envs_per_worker=8,
        )
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
    """The five MinAtar games, with the convolutional network of the MinAtar paper."""
    if algorithm == "acer":
        return tuned_acer.minatar(environment)
    return Experiment(
        environment,
        algorithm=_method(
            algorithm,
            A3C(rollout_length=10, entropy_weight=0.01),
            rollout_length=10,
            target_interval=10_000,
            final_epsilons=(0.05, 0.01),
            exploration_steps=200_000,
        ),
        network=NetworkSettings(torso="minatar", initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=2e-3 if algorithm == "a3c" else 1e-3, max_gradient_norm=5.0),
        steps=2_000_000,
        envs_per_worker=16,
    )


def pendulum(environment: str, algorithm: str) -> Experiment:
    """Pendulum-v1: swings the pendulum up and balances it with a continuous torque."""
    if algorithm == "acer":
        return tuned_acer.pendulum(environment)
    return _continuous(
        environment, A3C(rollout_length=10, discount=0.95, entropy_weight=1e-3), 3e-3, reward_scale=0.02, steps=600_000
    )


def mujoco(environment: str, algorithm: str) -> Experiment:
    """MuJoCo tasks with state vectors: a feed-forward network with normalised observations."""
    return _continuous(
        environment,
        A3C(rollout_length=16, entropy_weight=1e-3),
        1e-3,
        reward_scale=0.05,
        steps=2_000_000,
        activation="tanh",
    )


def _continuous(
    environment: str,
    a3c: A3C,
    learning_rate: float,
    *,
    reward_scale: float,
    steps: int,
    activation: Literal["relu", "tanh"] = "relu",
) -> Experiment:
    """A3C for continuous actions and state vectors; policy and value have separate networks."""
    return Experiment(
        environment,
        algorithm=a3c,
        network=NetworkSettings(
            activation=activation, initialization="orthogonal", separate=True, normalize_observations=True
        ),
        optimizer=OptimizerSettings(learning_rate=learning_rate, max_gradient_norm=5.0),
        reward_scale=reward_scale,
        steps=steps,
        envs_per_worker=16,
    )


def atari(environment: str, algorithm: str) -> Experiment:
    """Atari games on a small machine, with the small convolutional network of Mnih et al. (2013).

    As in the measured runs, an episode begins with the fire action where a game has one, and lost lives do not count.
    """
    return Experiment(
        environment,
        algorithm=_method(
            algorithm,
            A3C(rollout_length=5, entropy_weight=0.004),
            rollout_length=5,
            target_interval=40_000,
            exploration_steps=1_000_000,
        ),
        network=NetworkSettings(torso="atari-2013", initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=7e-4, max_gradient_norm=2.5),
        reward_clip=1.0,
        steps=8_000_000,
        envs_per_worker=16,
    )


def default(environment: str, algorithm: str | None, kind: Kind) -> Experiment:
    """Settings by the kind of environment, for every environment without a preset of its own.

    Exploration persists for several steps in all of them. A pendulum, a cart or a car that has to gain momentum moves
    nowhere while its actions are drawn anew at each step.

    Args:
        environment: Gymnasium id.
        algorithm: Name of one of the algorithms, or None for the one that suits the kind.
        kind: What the environment observes and how it is acted in.
    """
    if algorithm is None:
        algorithm = _algorithm_for(kind)
    if algorithm not in VALUE_BASED:
        return _images(environment) if kind.observations == "images" else _vectors_a3c(environment)
    return _table(environment, algorithm) if kind.observations == "states" else _vectors_q(environment, algorithm)


def _algorithm_for(kind: Kind) -> str:
    """The algorithm that suits a kind of environment."""
    if kind.actions != "discrete" or kind.observations == "images":
        return "a3c"
    return "onestep-q"


def _table(environment: str, algorithm: str) -> Experiment:
    """A Q method with a value for each state and action, as in a table: one linear layer on the one-hot state.

    Its values begin near 0. Where rewards are negative that is optimistic, so greedy actions try everything.
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


def _vectors_q(environment: str, algorithm: str) -> Experiment:
    """A Q method for vectors and discrete actions."""
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


def _vectors_a3c(environment: str) -> Experiment:
    """A3C for vectors; policy and value have separate networks."""
    return Experiment(
        environment,
        algorithm=A3C(rollout_length=32, entropy_weight=1e-3, exploration_persistence=0.5),
        network=NetworkSettings(
            activation="tanh", initialization="orthogonal", separate=True, normalize_observations=True
        ),
        optimizer=OptimizerSettings(learning_rate=1e-3, max_gradient_norm=5.0),
        reward_scale=0.1,
        steps=1_000_000,
        envs_per_worker=16,
    )


def _images(environment: str) -> Experiment:
    """A3C for images, with the convolutional network of Mnih et al. (2013) or MinAtar's."""
    return Experiment(
        environment,
        algorithm=A3C(rollout_length=16, entropy_weight=0.01),
        network=NetworkSettings(initialization="orthogonal"),
        optimizer=OptimizerSettings(learning_rate=7e-4, max_gradient_norm=2.5),
        steps=1_000_000,
        envs_per_worker=16,
    )
