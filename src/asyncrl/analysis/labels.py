"""Labels for an environment's actions and for the entries of its observations."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from asyncrl.config import Experiment
from asyncrl.types import EnvironmentInfo

ACTION_LABELS = {
    "CartPole": ("left", "right"),
    "MountainCar": ("left", "none", "right"),
    "Acrobot": ("torque -1", "none", "torque +1"),
    "LunarLander": ("none", "left engine", "main engine", "right engine"),
    "FrozenLake": ("left", "down", "right", "up"),
    "CliffWalking": ("up", "right", "down", "left"),
    "Taxi": ("south", "north", "east", "west", "pick up", "drop off"),
}
"""Action labels from Gymnasium's documentation, by the environment's name without namespace and version."""
MINATAR_LABELS = {"n": "none", "l": "left", "u": "up", "r": "right", "d": "down", "f": "fire"}
"""Labels for MinAtar's action letters."""
OBSERVATION_LABELS = {
    "CartPole": ("position", "velocity", "angle", "angular velocity"),
    "MountainCar": ("position", "velocity"),
    "MountainCarContinuous": ("position", "velocity"),
    "Pendulum": ("cos angle", "sin angle", "angular velocity"),
    "Acrobot": ("cos angle 1", "sin angle 1", "cos angle 2", "sin angle 2", "velocity 1", "velocity 2"),
    "LunarLander": ("x", "y", "velocity x", "velocity y", "angle", "angular velocity", "left leg", "right leg"),
    "LunarLanderContinuous": (
        "x",
        "y",
        "velocity x",
        "velocity y",
        "angle",
        "angular velocity",
        "left leg",
        "right leg",
    ),
}
"""Observation labels from Gymnasium's documentation, by the environment's name."""


def action_names(experiment: Experiment, info: EnvironmentInfo) -> tuple[str, ...]:
    """A label for each discrete action, for each choice of each component, or for each dimension of an action.

    Args:
        experiment: The experiment whose environment is asked.
        info: What is known of that environment.
    """
    space = info.action_space
    if isinstance(space, Discrete):
        labels = _discrete_labels(experiment, info)
        return labels if len(labels) == space.n else tuple(f"action {number}" for number in range(int(space.n)))
    if isinstance(space, MultiDiscrete):
        return tuple(f"{part}: {choice}" for part, choices in enumerate(space.nvec) for choice in range(int(choices)))
    assert isinstance(space, Box)
    return tuple(f"dimension {number}" for number in range(int(space.low.size)))


def _discrete_labels(experiment: Experiment, info: EnvironmentInfo) -> tuple[str, ...]:
    from asyncrl.envs.make import make_environments

    environments = make_environments(experiment, 1)
    try:
        base: Any = environments.unwrapped
        if hasattr(base, "ale"):
            return tuple(action.name for action in base.ale.get_action_set())
        inner = base.envs[0].unwrapped if hasattr(base, "envs") else base
        if info.id.startswith("MinAtar/"):
            return tuple(MINATAR_LABELS[inner.game.env.action_map[number]] for number in inner.action_set)
        meanings = getattr(inner, "get_action_meanings", None)
        return tuple(map(str, meanings())) if meanings is not None else ACTION_LABELS.get(_name(info), ())
    except gymnasium.error.Error:
        return ()
    finally:
        environments.close()


def observation_names(info: EnvironmentInfo, entries: int) -> tuple[str, ...]:
    """A label for each entry of an observation that is a vector."""
    known = OBSERVATION_LABELS.get(_name(info), ())
    return known if len(known) == entries else tuple(f"entry {number}" for number in range(entries))


def _name(info: EnvironmentInfo) -> str:
    return info.id.rpartition("-")[0]
