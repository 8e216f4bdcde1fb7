"""Draws the objects of a labyrinth and puts all its pictures together."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from asyncrl.envs.labyrinth.state import Pictures
from asyncrl.envs.labyrinth.textures import Picture, floor_textures, packed, sky, wall_textures

SPRITE = 32
"""Height and width of a sprite in texels."""

OUTLINES = np.array(
    [
        [0.40, 0.12, 0.52],  # apple
        [0.70, 0.02, 0.92],  # portal
        [0.44, 0.20, 0.64],  # cue for the end on the left
        [0.44, 0.20, 0.64],  # cue for the end on the right
        [0.50, 0.15, 0.65],  # correct end
        [0.50, 0.15, 0.65],  # wrong end
    ]
)
"""Width, bottom and top of each kind of object, in cells."""

_Y, _X = (np.mgrid[:SPRITE, :SPRITE] + 0.5) / SPRITE * 2 - 1  # -1 to 1, down and to the right


@cache
def pictures() -> Pictures:
    """The pictures of all labyrinths, made once per process."""
    end = _diamond()
    sprites = [_apple(), _portal(), _ball((0.90, 0.15, 0.12)), _ball((0.15, 0.30, 0.95)), end, end]
    return Pictures(
        wall_textures(), floor_textures(), sky(), np.stack([packed(sprite) for sprite in sprites]), OUTLINES
    )


def _sprite(color: Picture, is_inside: NDArray[np.bool_]) -> Picture:
    """Adds opacity to colours [SPRITE, SPRITE, 3]."""
    return np.concatenate([color, is_inside[..., None].astype(np.float64)], -1)


def _light(x: float, y: float) -> Picture:
    """Brightness [SPRITE, SPRITE, 1] that falls off around a point."""
    light: Picture = np.clip(1.25 - 0.75 * np.hypot(_X - x, _Y - y), 0.3, 1.2)[..., None]
    return light


def _ball(color: tuple[float, float, float]) -> Picture:
    return _sprite(np.array(color) * _light(-0.3, -0.4) + 0.1, np.hypot(_X, _Y) < 0.95)


def _apple() -> Picture:
    is_fruit = np.hypot(_X, (_Y - 0.2) * 1.15) < 0.88
    is_stalk = (np.abs(_X) < 0.09) & (_Y < -0.4)
    is_leaf = np.hypot((_X - 0.42) / 0.42, (_Y + 0.75) / 0.2) < 1
    color = np.where(is_fruit[..., None], np.array([0.88, 0.10, 0.10]) * _light(-0.3, -0.2), (0.35, 0.22, 0.10))
    color = np.where(is_leaf[..., None], (0.25, 0.75, 0.20), color)
    return _sprite(color, is_fruit | is_stalk | is_leaf)


def _portal() -> Picture:
    radius, angle = np.hypot(_X, _Y), np.arctan2(_Y, _X)
    swirl = (0.5 + 0.5 * np.sin(3 * angle + 9 * radius))[..., None]
    inside = np.array([0.45, 0.75, 1.0]) * swirl + np.array([0.25, 0.10, 0.55]) * (1 - swirl)
    color = np.where((radius > 0.72)[..., None], (0.95, 0.35, 0.95), inside)
    return _sprite(color, radius < 0.97)


def _diamond() -> Picture:
    return _sprite(np.array([1.0, 0.80, 0.15]) * _light(-0.2, -0.3), np.abs(_X) + np.abs(_Y) < 0.97)
