"""What an agent sees, computed slowly: every ray against every line of the grid and every object, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asyncrl.envs.labyrinth.state import LEVELS, SIZE, TEXELS, Pictures, Worlds

HALF = SIZE // 2


def first_wall(walls: NDArray[np.uint8], x: float, y: float, dx: float, dy: float) -> tuple[float, int, int, float]:
    """Length of a ray to the nearest wall, its texture, its side, and how far from its left edge the ray ends."""
    best: tuple[float, int, int, float] = (np.inf, 0, 0, 0.0)
    for line in range(len(walls) + 1):
        if dx and (t := (line - x) / dx) > 0:
            there = y + t * dy
            column = line if dx > 0 else line - 1
            if 0 <= there < len(walls) and 0 <= column < len(walls) and walls[int(there), column] and t < best[0]:
                best = t, int(walls[int(there), column]) - 1, 0, there % 1 if dx > 0 else 1 - there % 1
        if dy and (t := (line - y) / dy) > 0:
            there = x + t * dx
            row = line if dy > 0 else line - 1
            if 0 <= there < len(walls) and 0 <= row < len(walls) and walls[row, int(there)] and t < best[0]:
                best = t, int(walls[row, int(there)]) - 1, 1, 1 - there % 1 if dy > 0 else there % 1
    return best


def view(worlds: Worlds, pictures: Pictures, b: int) -> NDArray[np.uint8]:
    """The frame [SIZE, SIZE, 3] of labyrinth b."""
    angle = np.deg2rad(float(worlds.heading[b]))
    ahead, right = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    colors = np.zeros((SIZE, SIZE), np.int64)
    for column in range(SIZE):
        aside = (column + 0.5) / HALF - 1
        ray = ahead + aside * right
        length, texture, side, along = first_wall(worlds.walls[b], *worlds.position[b], *ray)
        level = min(LEVELS - 1, int(2 * length))
        wall = pictures.walls[texture, side, level, int(along * TEXELS)]
        degrees = np.rad2deg(np.arctan(aside)) + 45 + (worlds.heading[b] + worlds.sky[b]) % 360
        sprites = sprites_on(worlds, pictures, b, length, aside, np.stack([ahead, right], 1))
        for row in range(SIZE):
            rise = 1 - (row + 0.5) / HALF
            colors[row, column] = (
                sprite_color(sprites, rise)
                or wall_color(wall, 0.5 + rise * length)
                or (int(pictures.sky[row, round(2 * degrees)]) if rise > 0 else 0)
                or floor_color(pictures.floors[worlds.floor[b], row - HALF], worlds.position[b] + ray * 0.5 / -rise)
            )
    return np.stack([colors & 255, (colors >> 8) & 255, (colors >> 16) & 255], -1).astype(np.uint8)


def sprites_on(worlds: Worlds, pictures: Pictures, b: int, length: float, aside: float, axes: Any) -> list[Any]:
    """What a ray meets before a wall, the nearest first: distance, bottom, top, and a column of texels."""
    met = []
    for i in np.flatnonzero(worlds.present[b]):
        depth, centre = (worlds.places[b, i] - worlds.position[b]) @ axes
        width, bottom, top = pictures.outlines[worlds.kinds[b, i]]
        u = (aside * depth - centre) / width + 0.5
        if 0.1 < depth < length and 0 <= u < 1:
            sprite = pictures.sprites[worlds.kinds[b, i]]
            met.append((float(depth), bottom, top, sprite[:, int(u * len(sprite))].tolist()))
    return sorted(met)


def sprite_color(sprites: list[Any], rise: float) -> int:
    """The nearest opaque texel; 0 if there is none."""
    for depth, bottom, top, texels in sprites:
        v = (top - 0.5 - rise * depth) / (top - bottom)
        if 0 <= v < 1 and texels[int(v * len(texels))] >> 24:
            return int(texels[int(v * len(texels))])
    return 0


def wall_color(texels: NDArray[np.uint32], height: float) -> int:
    """The texel of a wall at a height; 0 above and below the wall."""
    return int(texels[int((1 - height) * TEXELS)]) if 0 < height < 1 else 0


def floor_color(texels: NDArray[np.uint32], place: NDArray[np.float64]) -> int:
    """The texel of the floor at a place."""
    return int(texels[int(place[1] % 1 * TEXELS), int(place[0] % 1 * TEXELS)])
