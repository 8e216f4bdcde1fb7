"""Labyrinths that are put into given states."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncrl.envs.labyrinth.env import LabyrinthVectorEnv
from asyncrl.envs.labyrinth.state import ACTIONS, TURNS

LEFT, FORWARD = ACTIONS.index("look left"), ACTIONS.index("forward")


def place(env: LabyrinthVectorEnv, x: float, y: float, heading: int = 0, b: int = 0) -> None:
    """Puts the agent of a labyrinth somewhere."""
    env.worlds.position[b] = x, y
    env.worlds.heading[b] = heading


def put(env: LabyrinthVectorEnv, i: int, kind: int, x: float, y: float, b: int = 0) -> None:
    """Puts an object somewhere."""
    env.worlds.kinds[b, i], env.worlds.places[b, i], env.worlds.present[b, i] = kind, (x, y), True


def look(env: LabyrinthVectorEnv) -> NDArray[np.uint8]:
    """What the agents see now [B, 84, 84, 3]; they turn away and back, and touch nothing that they did not touch."""
    env.worlds.heading[:] = (env.worlds.heading - TURNS[LEFT]) % 360
    return env.step(np.full(env.num_envs, LEFT))[0]


def act(env: LabyrinthVectorEnv, action: int) -> tuple[Any, ...]:
    """Lets all agents do the same."""
    return env.step(np.full(env.num_envs, action))
