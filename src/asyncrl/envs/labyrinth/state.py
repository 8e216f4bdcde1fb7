"""What the compiled loops work on: labyrinths, rules and pictures, as named tuples of arrays and numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIZE = 84
"""Height and width of an observation in pixels."""
TEXELS = 64
"""Height and width of a texture."""
LEVELS = 16
"""Versions of a texture, from near (sharp and bright) to far (blurred and dark)."""
LEVELS_PER_CELL = 2.0
"""Levels that a wall passes through as it moves away by the width of a cell."""
FULL_TURN = 360
"""Headings are whole degrees, clockwise as seen from above; 0 is east."""
EYE = 0.5
"""Height of the eye; walls are 1 high."""
BODY = 0.2
"""Half of the width of the agent's body, which is a square that does not turn."""
REACH = 0.4
"""An object closer than this is touched."""

ACTIONS = (
    "look left",
    "look right",
    "look left quickly",
    "look right quickly",
    "forward",
    "backward",
    "strafe left",
    "strafe right",
)
STEPS_PER_SECOND = 15
"""The paper's rate: one action for 4 frames, at 60 frames a second."""
TURNS = np.array([-8, 8, -24, 24, 0, 0, 0, 0])
"""Degrees by which each action turns the agent."""
MOVES = (
    np.array([[0, 0], [0, 0], [0, 0], [0, 0], [1, 0], [-1, 0], [0, -1], [0, 1]], np.float64) * 3.2 / STEPS_PER_SECOND
)
"""How far each action moves the agent forward and to the right, in cells."""

MAZE, ROOM, T_MAZE = 0, 1, 2
"""Layouts."""
APPLE, PORTAL, LEFT_CUE, RIGHT_CUE, CORRECT_END, WRONG_END = range(6)
"""Kinds of objects."""
REWARDS = np.array([1.0, 10.0, 0.0, 0.0, 1.0, 0.0])
"""The reward of touching each kind of object."""

ANGLES = np.deg2rad(np.arange(FULL_TURN))
COSINES, SINES = np.cos(ANGLES), np.sin(ANGLES)


class Rules(NamedTuple):
    """The knobs of all labyrinths of a vector."""

    layout: int
    apples: int
    portal: bool
    textures: int
    steps: int
    maze: int  # the number of the maze that is the same in each episode; -1 makes a new one


class Worlds(NamedTuple):
    """The states of B labyrinths of S × S cells with up to N objects. Positions are x, y; cells are [y, x]."""

    random: NDArray[np.uint64]  # state of the random generator [B]
    walls: NDArray[np.uint8]  # 0 where a cell is open, otherwise 1 + the texture of the wall [B, S, S]
    kinds: NDArray[np.int64]  # kind of each object, -1 if there is none [B, N]
    places: NDArray[np.float64]  # [B, N, 2]
    present: NDArray[np.bool_]  # whether an object can be touched and seen [B, N]
    position: NDArray[np.float64]  # of the agent [B, 2]
    heading: NDArray[np.int64]  # [B]
    time: NDArray[np.int64]  # steps of the episode [B]
    ended: NDArray[np.bool_]  # whether the episode ended at the last step [B]
    floor: NDArray[np.int64]  # texture of the floor [B]
    sky: NDArray[np.int64]  # heading of the panorama's left edge [B]


class Pictures(NamedTuple):
    """Textures, each texel with its red, green, blue and opacity in the bytes of a number, from the lowest."""

    walls: NDArray[np.uint32]  # [textures, 2, LEVELS, TEXELS, TEXELS]; first those of walls that face east or west
    floors: NDArray[np.uint32]  # [textures, SIZE / 2, TEXELS, TEXELS]: a version for each row of the view
    sky: NDArray[np.uint32]  # [SIZE / 2, 2 · FULL_TURN · 2]: two full turns with two columns for a degree
    sprites: NDArray[np.uint32]  # [kinds, sprite, sprite]
    outlines: NDArray[np.float64]  # width, bottom and top of each kind of object [kinds, 3]


def empty_worlds(count: int, size: int, objects: int) -> Worlds:
    """Memory for the states of labyrinths whose episodes have ended."""

    def zeros(*shape: int, dtype: Any = np.int64) -> NDArray[Any]:
        return np.zeros((count, *shape), dtype)

    return Worlds(
        random=zeros(dtype=np.uint64),
        walls=zeros(size, size, dtype=np.uint8),
        kinds=zeros(objects),
        places=zeros(objects, 2, dtype=np.float64),
        present=zeros(objects, dtype=np.bool_),
        position=zeros(2, dtype=np.float64),
        heading=zeros(),
        time=zeros(),
        ended=np.ones(count, np.bool_),
        floor=zeros(),
        sky=zeros(),
    )
