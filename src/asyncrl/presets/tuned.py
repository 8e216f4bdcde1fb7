"""Presets tuned on machines with few cores. The runs behind them are in `benchmarks/results`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

from asyncrl.algorithms import VALUE_BASED
from asyncrl.algorithms.impala import IMPALA
from asyncrl.config import Experiment
from asyncrl.presets import (
    tuned_a3c,
    tuned_acer,
    tuned_dqn,
    tuned_nfq,
    tuned_pgq,
    tuned_ppo,
    tuned_pqn,
    tuned_q,
    tuned_unreal,
)
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

FAMILIES = {
    "dqn": tuned_dqn,
    "pqn": tuned_pqn,
    "ppo": tuned_ppo,
    "acer": tuned_acer,
    "pgq": tuned_pgq,
    "nfq": tuned_nfq,
}
"""The files of the families that have one algorithm, by its name."""

Make = Callable[[str], Experiment]
"""Makes the experiment for an environment's id."""


def _methods(task: str, otherwise: str = "") -> dict[str, Make]:
    """What makes the experiment of each algorithm that has settings for a task, by its name; A3C comes first.

    Args:
        task: Name of the functions in the families' files.
        otherwise: Name of the function that a family without one of that name uses.
    """

    def found(family: ModuleType) -> Any:
        return getattr(family, task, None) or getattr(family, otherwise, None)

    a3c, value_based = found(tuned_a3c), found(tuned_q)
    makes: dict[str, Make] = {"a3c": a3c}
    if value_based is not None:
        makes |= {name: partial(value_based, algorithm=name) for name in VALUE_BASED}
    makes |= {name: found(family) for name, family in FAMILIES.items() if found(family) is not None}
    return {**makes, "impala": partial(_impala, a3c), "unreal": partial(tuned_unreal.on_top_of, a3c, task)}


def _impala(a3c: Make, environment: str) -> Experiment:
    """A3C's settings, with each rollout learned as often as IMPALA does."""
    return tuned_a3c.with_algorithm(a3c(environment), IMPALA)


CATCH = _methods("catch")
CATCH_MEMORY = _methods("catch_memory")
CARTPOLE = _methods("cartpole")
ACROBOT = _methods("acrobot")
LUNARLANDER = _methods("lunarlander")
MINATAR = _methods("minatar")
PENDULUM = _methods("pendulum")
MUJOCO_TASKS = _methods("mujoco")
ATARI = _methods("atari")
STATES = _methods("table", "vectors")
VECTORS = _methods("vectors")
IMAGES = _methods("images", "vectors")


def catch(environment: str, algorithm: str) -> Experiment:
    """Catch until every ball is caught, in seconds."""
    return CATCH[algorithm](environment)


def catch_memory(environment: str, algorithm: str) -> Experiment:
    """Catch where each ball is seen only once, so that the agent needs a memory."""
    return CATCH_MEMORY[algorithm](environment)


def cartpole(environment: str, algorithm: str) -> Experiment:
    """CartPole-v1 to its limit of 500."""
    return CARTPOLE[algorithm](environment)


def acrobot(environment: str, algorithm: str) -> Experiment:
    """Acrobot-v1: swings up in fewer than 100 steps."""
    return ACROBOT[algorithm](environment)


def lunarlander(environment: str, algorithm: str) -> Experiment:
    """LunarLander-v3, which counts as solved at a mean return of 200."""
    return LUNARLANDER[algorithm](environment)


def minatar(environment: str, algorithm: str) -> Experiment:
    """The five MinAtar games, with the convolutional network of the MinAtar paper."""
    return MINATAR[algorithm](environment)


def pendulum(environment: str, algorithm: str) -> Experiment:
    """Pendulum-v1: swings the pendulum up and balances it with a continuous torque."""
    return PENDULUM[algorithm](environment)


def mujoco(environment: str, algorithm: str) -> Experiment:
    """MuJoCo tasks with state vectors: a feed-forward network with normalised observations."""
    return MUJOCO_TASKS[algorithm](environment)


def atari(environment: str, algorithm: str) -> Experiment:
    """Atari games on a small machine, with the small convolutional network of Mnih et al. (2013).

    As in the measured runs, an episode begins with the fire action where a game has one, and lost lives do not count.
    """
    return ATARI[algorithm](environment)


def vizdoom(environment: str, algorithm: str) -> Experiment:
    """ViZDoom's scenarios: colour pictures of 60 x 80 pixels, and actions that last for four frames."""
    experiment = IMAGES[algorithm](environment)
    return replace(
        experiment,
        network=replace(experiment.network, normalize_observations=True),  # such as ammunition and health
        environment_options={"frame_skip": 4, "screen_resolution": "RES_160X120"},
        resize=(60, 80),
        reward_scale=1.0,
        normalize_rewards=True,
    )


def default(environment: str, algorithm: str | None, kind: Kind) -> Experiment:
    """Settings by the kind of environment, for every environment without a preset of its own.

    On vectors, exploration persists for several steps. A pendulum, a cart or a car that has to gain momentum moves
    nowhere while its actions are drawn anew at each step.

    Args:
        environment: Gymnasium id.
        algorithm: Name of one of the algorithms, or None for the one that suits the kind.
        kind: What the environment observes and how it is acted in.
    """
    methods = {"states": STATES, "vectors": VECTORS, "images": IMAGES}[kind.observations]
    return methods[algorithm or _algorithm_for(kind)](environment)


def _algorithm_for(kind: Kind) -> str:
    """The algorithm that suits a kind of environment."""
    if kind.observations == "images":
        return "a3c"
    return "onestep-q" if kind.actions == "discrete" else "ppo"
