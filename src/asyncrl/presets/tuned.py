"""Presets tuned on machines with few cores. The runs behind them are in `benchmarks/results`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from asyncrl.algorithms import VALUE_BASED
from asyncrl.config import Experiment
from asyncrl.presets import tuned_a3c, tuned_acer, tuned_dqn, tuned_pqn, tuned_q
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

Make = Callable[[str], Experiment]
"""Makes the experiment for an environment's id."""


def _methods(a3c: Make, value_based: Callable[[str, str], Experiment] | None = None, **others: Make) -> dict[str, Make]:
    """What makes the experiment of each algorithm, by its name; the first one is the default.

    Args:
        a3c: Of A3C.
        value_based: Of the methods in `VALUE_BASED`, whose name is its second argument.
        **others: Of other algorithms, by their names.
    """
    makes = {"a3c": a3c}
    if value_based is not None:
        makes |= {name: partial(_named, value_based, name) for name in VALUE_BASED}
    return {**makes, **others}


def _named(make: Callable[[str, str], Experiment], algorithm: str, environment: str) -> Experiment:
    return make(environment, algorithm)


CATCH = _methods(tuned_a3c.catch, tuned_q.catch, dqn=tuned_dqn.catch, acer=tuned_acer.catch, pqn=tuned_pqn.catch)
CATCH_MEMORY = _methods(
    tuned_a3c.catch_memory,
    tuned_q.catch_memory,
    dqn=tuned_dqn.catch_memory,
    acer=tuned_acer.catch_memory,
    pqn=tuned_pqn.catch_memory,
)
CARTPOLE = _methods(
    tuned_a3c.cartpole, tuned_q.cartpole, dqn=tuned_dqn.cartpole, acer=tuned_acer.cartpole, pqn=tuned_pqn.cartpole
)
ACROBOT = _methods(tuned_a3c.acrobot, tuned_q.acrobot, dqn=tuned_dqn.acrobot, pqn=tuned_pqn.acrobot)
LUNARLANDER = _methods(tuned_a3c.lunarlander, tuned_q.lunarlander, dqn=tuned_dqn.lunarlander, pqn=tuned_pqn.lunarlander)
MINATAR = _methods(
    tuned_a3c.minatar, tuned_q.minatar, dqn=tuned_dqn.minatar, acer=tuned_acer.minatar, pqn=tuned_pqn.minatar
)
PENDULUM = _methods(tuned_a3c.pendulum, acer=tuned_acer.pendulum)
ATARI = _methods(tuned_a3c.atari, tuned_q.atari, dqn=tuned_dqn.atari, pqn=tuned_pqn.atari)
STATES = _methods(tuned_a3c.vectors, tuned_q.table, dqn=tuned_dqn.table, pqn=tuned_pqn.vectors)
VECTORS = _methods(tuned_a3c.vectors, tuned_q.vectors, dqn=tuned_dqn.vectors, pqn=tuned_pqn.vectors)
IMAGES = _methods(tuned_a3c.images, tuned_q.vectors, dqn=tuned_dqn.images, pqn=tuned_pqn.images)


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
    return tuned_a3c.mujoco(environment)


def atari(environment: str, algorithm: str) -> Experiment:
    """Atari games on a small machine, with the small convolutional network of Mnih et al. (2013).

    As in the measured runs, an episode begins with the fire action where a game has one, and lost lives do not count.
    """
    return ATARI[algorithm](environment)


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
    if kind.actions != "discrete" or kind.observations == "images":
        return "a3c"
    return "onestep-q"
