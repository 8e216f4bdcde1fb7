"""Writes mazes as maps of Doom: an archive (PWAD) of text maps (UDMF)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

CELL = 96
"""Width of a cell and height of its walls, in the engine's units. The player is 32 wide."""

PLAYER, APPLE, PORTAL = 1, 2014, 2018
"""Numbers of the kinds of things in a map: the player, a health bonus and a green armour.

A health bonus gives one point of health, up to 200, and the armour gives armour, so the engine's own variables tell
what was touched. Objects of one's own (DECORATE) would need no such detour, but an engine that has loaded some crashes
at its end if one was picked up before the map changed (ViZDoom 1.3.2).
"""

TEXTURES = ("STARTAN2", "BRICK7", "STONE2", "WOOD5", "METAL2", "TEKWALL4", "MARBLE1", "GSTONE1")
"""Names of the textures of walls 1 to 8."""

Thing = tuple[int, float, float]
"""A kind, and its place x, y in cells: x to the east, y to the south."""


def archive(maps: Iterable[str]) -> bytes:
    """A PWAD with text maps, which are called MAP01, MAP02 and so on."""
    lumps = []
    for number, text in enumerate(maps, 1):
        lumps += [(f"MAP{number:02d}", b""), ("TEXTMAP", text.encode()), ("ENDMAP", b"")]
    position, entries = 12, b""
    for name, data in lumps:
        entries += struct.pack("<ii8s", position, len(data), name.encode())
        position += len(data)
    return struct.pack("<4sii", b"PWAD", len(lumps), position) + b"".join(data for _, data in lumps) + entries


def text_map(walls: NDArray[np.uint8], things: Sequence[Thing]) -> str:
    """A map in UDMF: one room with a floor and a sky, whose walls follow the borders of the open cells.

    Args:
        walls: The texture of each cell [S, S], from 1 to 8; 0 where it is open.
        things: The player and the objects.
    """
    corners: dict[tuple[int, int], int] = {}
    lines: list[str] = []
    sides: list[str] = []
    for y, x in np.argwhere(walls == 0).tolist():
        for (dy, dx), start, end in _borders(y, x):
            wall = int(walls[y + dy, x + dx])
            if wall:
                first, second = (corners.setdefault(corner, len(corners)) for corner in (start, end))
                lines.append(f"linedef {{ v1 = {first}; v2 = {second}; sidefront = {len(sides)}; blocking = true; }}")
                sides.append(f'sidedef {{ sector = 0; texturemiddle = "{TEXTURES[wall - 1]}"; }}')
    always = "angle = 0; single = true; " + " ".join(f"skill{skill} = true;" for skill in range(1, 6))
    return "\n".join(
        [
            'namespace = "zdoom";',
            *(f"vertex {{ x = {x * CELL}; y = {-y * CELL}; }}" for x, y in corners),
            *lines,
            *sides,
            f'sector {{ heightfloor = 0; heightceiling = {CELL}; texturefloor = "FLOOR4_8"; textureceiling = "F_SKY1"; '
            "lightlevel = 200; }",
            *(f"thing {{ x = {x * CELL:.1f}; y = {-y * CELL:.1f}; type = {kind}; {always} }}" for kind, x, y in things),
        ]
    )


def _borders(y: int, x: int) -> tuple[tuple[tuple[int, int], tuple[int, int], tuple[int, int]], ...]:
    """For each neighbour of a cell: the way there, and the ends x, y of the border, with the cell to its right."""
    north_west, north_east, south_east, south_west = (x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)
    return (
        ((-1, 0), north_west, north_east),
        ((0, 1), north_east, south_east),
        ((1, 0), south_east, south_west),
        ((0, -1), south_west, north_west),
    )
