"""What an environment's actions and the numbers it shows are called."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from asyncrl.config import Experiment
from asyncrl.types import EnvironmentInfo

ACTIONS = {  # of environments that do not tell, from Gymnasium's documentation
    "CartPole": ("left", "right"),
    "MountainCar": ("left", "none", "right"),
    "Acrobot": ("torque -1", "none", "torque +1"),
    "LunarLander": ("none", "left engine", "main engine", "right engine"),
    "FrozenLake": ("left", "down", "right", "up"),
    "CliffWalking": ("up", "right", "down", "left"),
    "Taxi": ("south", "north", "east", "west", "pick up", "drop off"),
}
MINATAR = {"n": "none", "l": "left", "u": "up", "r": "right", "d": "down", "f": "fire"}
OBSERVED = {  # from Gymnasium's documentation
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
"""By the environment's name without namespace and version; MinAtar's letters."""


def action_names(experiment: Experiment, info: EnvironmentInfo) -> tuple[str, ...]:
    """A name for each choice of a discrete action, for each choice of each component, or for each dimension.

    Args:
        experiment: Whose environment.
        info: That environment.
    """
    space = info.action_space
    if isinstance(space, Discrete):
        told = _told(experiment, info)
        return told if len(told) == space.n else tuple(f"action {number}" for number in range(int(space.n)))
    if isinstance(space, MultiDiscrete):
        return tuple(f"{part}: {choice}" for part, choices in enumerate(space.nvec) for choice in range(int(choices)))
    assert isinstance(space, Box)
    return tuple(f"dimension {number}" for number in range(int(space.low.size)))


def _told(experiment: Experiment, info: EnvironmentInfo) -> tuple[str, ...]:
    from asyncrl.envs.make import make_environments

    environments = make_environments(experiment, 1)
    try:
        base: Any = environments.unwrapped
        if hasattr(base, "ale"):
            return tuple(action.name for action in base.ale.get_action_set())
        inner = base.envs[0].unwrapped if hasattr(base, "envs") else base
        if info.id.startswith("MinAtar/"):
            return tuple(MINATAR[inner.game.env.action_map[number]] for number in inner.action_set)
        tell = getattr(inner, "get_action_meanings", None)
        return tuple(map(str, tell())) if tell is not None else ACTIONS.get(_short(info), ())
    except gymnasium.error.Error:
        return ()
    finally:
        environments.close()


def observation_names(info: EnvironmentInfo, entries: int) -> tuple[str, ...]:
    """A name for each entry of a vector that is observed."""
    known = OBSERVED.get(_short(info), ())
    return known if len(known) == entries else tuple(f"entry {number}" for number in range(entries))


def _short(info: EnvironmentInfo) -> str:
    return info.id.rpartition("-")[0]
