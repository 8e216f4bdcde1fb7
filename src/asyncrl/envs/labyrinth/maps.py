"""Maps of labyrinths, as seen from above."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asyncrl.envs.labyrinth.state import (
    APPLE,
    CORRECT_END,
    COSINES,
    LEFT_CUE,
    PORTAL,
    RIGHT_CUE,
    SINES,
    WRONG_END,
    Worlds,
)

FLOOR, AGENT = (222, 218, 208), (20, 120, 40)
COLORS = {
    APPLE: (214, 30, 30),
    PORTAL: (176, 50, 210),
    LEFT_CUE: (235, 80, 60),
    RIGHT_CUE: (50, 90, 240),
    CORRECT_END: (250, 190, 30),
    WRONG_END: (130, 130, 130),
}
"""Colour of each kind of object."""


def draw_map(worlds: Worlds, b: int, cell: int) -> NDArray[np.uint8]:
    """Draws labyrinth b from above [S · cell, S · cell, 3]: walls, objects, the agent and where it looks.

    Args:
        worlds: Labyrinths of S × S cells.
        b: Index of the labyrinth.
        cell: Pixels of a cell.
    """
    walls = worlds.walls[b]
    cells = np.where(walls[..., None] > 0, 40 + 8 * walls[..., None].astype(np.int64), FLOOR).astype(np.uint8)
    picture: NDArray[np.uint8] = cells.repeat(cell, 0).repeat(cell, 1)
    for i in np.flatnonzero(worlds.present[b]):
        _dot(picture, cell * worlds.places[b, i], cell * 0.3, COLORS[int(worlds.kinds[b, i])])
    ahead = np.array([COSINES[worlds.heading[b]], SINES[worlds.heading[b]]])
    _dot(picture, cell * worlds.position[b], cell * 0.3, AGENT)
    for part in (0.3, 0.5, 0.7):
        _dot(picture, cell * (worlds.position[b] + part * ahead), cell * 0.12, AGENT)
    return picture


def _dot(picture: NDArray[np.uint8], place: NDArray[np.float64], radius: float, color: tuple[int, int, int]) -> None:
    """Draws a disc around a place, in pixels."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    picture[np.hypot(x - place[0], y - place[1]) < radius] = color
