"""Draws what an agent sees: a ray for each column finds the wall, then floor, sky and sprites are added.

Each column of the view has a ray: the agent's heading plus a part of the direction to its right. The length of a ray is
counted in steps of the heading, so that all points of one length form a plane and straight walls look straight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asyncrl.envs.labyrinth.compiled import inner
from asyncrl.envs.labyrinth.state import (
    COSINES,
    EYE,
    LEVELS,
    LEVELS_PER_CELL,
    SINES,
    SIZE,
    TEXELS,
    Pictures,
    Worlds,
)

HALF = SIZE // 2
"""Rows above the horizon; also the distance of the picture from the eye, in pixels, which makes the view 90° wide."""
NEAREST = 0.1
"""Sprites that are closer to the plane of the eye are not drawn."""
_FRACTION = 16
"""Bits of a texel's coordinate behind the point."""
_ONE = 1 << _FRACTION
_MASK = TEXELS - 1

ASIDE = (np.arange(SIZE) + 0.5) / HALF - 1
"""How far each column's ray goes to the right while it goes one step ahead."""
SKY_COLUMNS = np.rint(np.rad2deg(np.arctan(ASIDE)) * 2).astype(np.int64) + 90
"""Column of the panorama for each column of the view, beside that of the left edge."""
ROW_DISTANCES = EYE * HALF / (np.arange(HALF) + 0.5)
"""How far away the floor is that each row below the horizon shows."""


@inner
def set_pixel(frame: NDArray[np.uint8], y: int, x: int, color: int) -> None:
    """Writes the red, green and blue of a texel."""
    frame[y, x, 0], frame[y, x, 1], frame[y, x, 2] = color & 255, (color >> 8) & 255, (color >> 16) & 255


@inner
def cast(walls: NDArray[np.uint8], px: float, py: float, dx: float, dy: float) -> tuple[float, int, float, int]:
    """Follows a ray from cell to cell to the first wall (Amanatides and Woo 1987).

    Returns:
        The ray's length, the wall's texture, where on it the ray ends (0 left to 1 right), and its side: 0 if it faces
        east or west, 1 otherwise.
    """
    x, y = int(px), int(py)
    across_x = abs(1 / dx) if dx != 0 else np.inf
    across_y = abs(1 / dy) if dy != 0 else np.inf
    step_x, step_y = (1 if dx > 0 else -1), (1 if dy > 0 else -1)
    next_x = (x + 1 - px if dx > 0 else px - x) * across_x if dx != 0 else np.inf
    next_y = (y + 1 - py if dy > 0 else py - y) * across_y if dy != 0 else np.inf
    while True:
        if next_x < next_y:
            length, side = next_x, 0
            x += step_x
            next_x += across_x
        else:
            length, side = next_y, 1
            y += step_y
            next_y += across_y
        texture = walls[y, x]
        if texture:
            break
    along = py + length * dy if side == 0 else px + length * dx
    along -= np.floor(along)
    mirrored = step_x < 0 if side == 0 else step_y > 0
    return length, texture - 1, (1 - along if mirrored else along), side


@inner
def draw_walls(
    frame: NDArray[np.uint8],
    lengths: NDArray[np.float64],
    bottoms: NDArray[np.int64],
    worlds: Worlds,
    pictures: Pictures,
    b: int,
) -> None:
    """Draws walls and sky column by column, and notes each ray's length and the first row below its wall."""
    walls, px, py = worlds.walls[b], worlds.position[b, 0], worlds.position[b, 1]
    heading = worlds.heading[b]
    cosine, sine = COSINES[heading], SINES[heading]
    edge = 2 * ((heading + worlds.sky[b]) % 360)
    for column in range(SIZE):
        dx, dy = cosine - ASIDE[column] * sine, sine + ASIDE[column] * cosine
        length, texture, along, side = cast(walls, px, py, dx, dy)
        lengths[column] = length
        half = EYE * HALF / length  # rows from the horizon to the wall's edge
        top = max(0, int(np.ceil(HALF - half - 0.5)))
        bottom = SIZE - top
        bottoms[column] = bottom
        level = min(LEVELS - 1, int(length * LEVELS_PER_CELL))
        texels = pictures.walls[texture, side, level]
        u = min(TEXELS - 1, int(along * TEXELS))
        step = TEXELS / (2 * half)
        v = int((top + 0.5 - HALF + half) * step * _ONE)
        across = int(step * _ONE)
        for y in range(top):
            set_pixel(frame, y, column, pictures.sky[y, edge + SKY_COLUMNS[column]])
        for y in range(top, bottom):
            set_pixel(frame, y, column, texels[u, (v >> _FRACTION) & _MASK])
            v += across


@inner
def draw_floor(
    frame: NDArray[np.uint8], bottoms: NDArray[np.int64], worlds: Worlds, pictures: Pictures, b: int
) -> None:
    """Draws the floor row by row, because all points of a row are equally far away."""
    heading = worlds.heading[b]
    cosine, sine = COSINES[heading], SINES[heading]
    scale = TEXELS * _ONE
    first = SIZE
    for column in range(SIZE):
        first = min(first, bottoms[column])
    for y in range(first, SIZE):
        distance = ROW_DISTANCES[y - HALF]
        texels = pictures.floors[worlds.floor[b], y - HALF]
        u = int((worlds.position[b, 0] + distance * (cosine - ASIDE[0] * sine)) * scale)
        v = int((worlds.position[b, 1] + distance * (sine + ASIDE[0] * cosine)) * scale)
        across_u, across_v = int(-distance * sine / HALF * scale), int(distance * cosine / HALF * scale)
        for column in range(SIZE):
            if y >= bottoms[column]:
                set_pixel(frame, y, column, texels[(v >> _FRACTION) & _MASK, (u >> _FRACTION) & _MASK])
            u += across_u
            v += across_v


@inner
def draw_sprite(
    frame: NDArray[np.uint8], lengths: NDArray[np.float64], pictures: Pictures, kind: int, depth: float, aside: float
) -> None:
    """Draws an object in front of what lies farther away; it always turns its face to the eye's plane."""
    sprite = pictures.sprites[kind]
    texels = sprite.shape[0]
    width, floor, ceiling = pictures.outlines[kind, 0], pictures.outlines[kind, 1], pictures.outlines[kind, 2]
    scale = HALF / depth
    left, right = HALF + (aside - width / 2) * scale, HALF + (aside + width / 2) * scale
    top, bottom = HALF + (EYE - ceiling) * scale, HALF + (EYE - floor) * scale
    first_row, end_row = max(0, int(np.ceil(top - 0.5))), min(SIZE, int(np.ceil(bottom - 0.5)))
    for column in range(max(0, int(np.ceil(left - 0.5))), min(SIZE, int(np.ceil(right - 0.5)))):
        if lengths[column] <= depth:
            continue
        u = min(texels - 1, int((column + 0.5 - left) / (right - left) * texels))
        for y in range(first_row, end_row):
            v = min(texels - 1, int((y + 0.5 - top) / (bottom - top) * texels))
            color = sprite[v, u]
            if color >> 24:
                set_pixel(frame, y, column, color)


@inner
def draw_sprites(
    frame: NDArray[np.uint8], lengths: NDArray[np.float64], worlds: Worlds, pictures: Pictures, b: int
) -> None:
    """Draws all objects that are present, the farthest first."""
    count = worlds.kinds.shape[1]
    depths, asides, order = np.empty(count), np.empty(count), np.empty(count, np.int64)
    cosine, sine = COSINES[worlds.heading[b]], SINES[worlds.heading[b]]
    seen = 0
    for i in range(count):
        if not worlds.present[b, i]:
            continue
        dx, dy = worlds.places[b, i, 0] - worlds.position[b, 0], worlds.places[b, i, 1] - worlds.position[b, 1]
        depth, aside = dx * cosine + dy * sine, dy * cosine - dx * sine
        if depth < NEAREST or abs(aside) > depth + 1:
            continue
        depths[i], asides[i] = depth, aside
        j = seen
        while j > 0 and depths[order[j - 1]] < depth:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i
        seen += 1
    for j in range(seen):
        i = order[j]
        draw_sprite(frame, lengths, pictures, worlds.kinds[b, i], depths[i], asides[i])


@inner
def look(frame: NDArray[np.uint8], worlds: Worlds, pictures: Pictures, b: int) -> None:
    """Draws the view of the agent in labyrinth b into a frame [SIZE, SIZE, 3]."""
    lengths, bottoms = np.empty(SIZE), np.empty(SIZE, np.int64)
    draw_walls(frame, lengths, bottoms, worlds, pictures, b)
    draw_floor(frame, bottoms, worlds, pictures, b)
    draw_sprites(frame, lengths, worlds, pictures, b)
