"""Makes mazes: walls, their textures, and the places of objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asyncrl.envs.labyrinth import state
from asyncrl.envs.labyrinth.compiled import inner
from asyncrl.envs.labyrinth.state import FULL_TURN, MAZE, ROOM, Rules, Worlds

_WEYL, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)

WALL_TEXTURES, FLOOR_TEXTURES = 8, 3
APPLE, PORTAL, LEFT_CUE, RIGHT_CUE = state.APPLE, state.PORTAL, state.LEFT_CUE, state.RIGHT_CUE
CORRECT_END, WRONG_END = state.CORRECT_END, state.WRONG_END


@inner
def draw(random: NDArray[np.uint64], b: int, count: int) -> int:
    """Draws a number below `count` from the generator b (SplitMix64, Steele et al. 2014)."""
    random[b] += _WEYL
    bits = random[b]
    bits = (bits ^ (bits >> _30)) * _MIX_1
    bits = (bits ^ (bits >> _27)) * _MIX_2
    bits = bits ^ (bits >> _31)
    return np.int64(((bits >> _32) * np.uint64(count)) >> _32)  # type: ignore[return-value]


@inner
def carve_maze(walls: NDArray[np.uint8], random: NDArray[np.uint64], b: int) -> None:
    """Opens the cells of a spanning tree, which a depth-first walk makes in random directions."""
    size = walls.shape[0]
    stack = np.empty((size * size, 2), np.int64)
    half = (size - 1) // 2
    y, x = 1 + 2 * draw(random, b, half), 1 + 2 * draw(random, b, half)
    walls[y, x] = 0
    depth = 0
    options = np.empty((4, 2), np.int64)
    while True:
        count = 0
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            if 0 < y + 2 * dy < size - 1 and 0 < x + 2 * dx < size - 1 and walls[y + 2 * dy, x + 2 * dx]:
                options[count, 0], options[count, 1] = dy, dx
                count += 1
        if count:
            chosen = draw(random, b, count)
            dy, dx = options[chosen, 0], options[chosen, 1]
            stack[depth, 0], stack[depth, 1] = y, x
            depth += 1
            walls[y + dy, x + dx] = 0
            y, x = y + 2 * dy, x + 2 * dx
            walls[y, x] = 0
        elif depth:
            depth -= 1
            y, x = stack[depth, 0], stack[depth, 1]
        else:
            return


@inner
def carve(walls: NDArray[np.uint8], layout: int, random: NDArray[np.uint64], b: int) -> None:
    """Fills all cells with walls and opens those of the layout."""
    size = walls.shape[0]
    walls[:] = 1
    if layout == MAZE:
        carve_maze(walls, random, b)
    elif layout == ROOM:
        walls[1 : size - 1, 1 : size - 1] = 0
    else:
        walls[1, 1 : size - 1] = 0
        walls[1 : size // 2 + 2, size // 2] = 0


@inner
def paint(walls: NDArray[np.uint8], textures: int, random: NDArray[np.uint64], b: int) -> None:
    """Chooses some textures, and one of them for each wall: the first for about half of the walls."""
    order = np.arange(WALL_TEXTURES)
    for i in range(textures):
        j = i + draw(random, b, WALL_TEXTURES - i)
        order[i], order[j] = order[j], order[i]
    size = walls.shape[0]
    for y in range(size):
        for x in range(size):
            if walls[y, x]:
                chosen = max(0, draw(random, b, 2 * textures) - textures)
                walls[y, x] = 1 + order[chosen]


@inner
def free_cell(worlds: Worlds, b: int, random: NDArray[np.uint64], source: int) -> tuple[float, float]:
    """Draws the centre of an open cell in which no object lies; there is one, as the knobs were checked."""
    walls, size = worlds.walls[b], worlds.walls.shape[1]
    while True:
        y, x = 1 + draw(random, source, size - 2), 1 + draw(random, source, size - 2)
        free = walls[y, x] == 0
        for i in range(worlds.kinds.shape[1]):
            if worlds.kinds[b, i] >= 0 and int(worlds.places[b, i, 0]) == x and int(worlds.places[b, i, 1]) == y:
                free = False
        if free:
            return x + 0.5, y + 0.5


@inner
def put(worlds: Worlds, b: int, i: int, kind: int, x: float, y: float) -> None:
    """Puts object i of labyrinth b at a place."""
    worlds.kinds[b, i] = kind
    worlds.places[b, i, 0], worlds.places[b, i, 1] = x, y
    worlds.present[b, i] = True


@inner
def put_agent_anywhere(worlds: Worlds, b: int) -> None:
    """Puts the agent into a random open cell without an object, with a random heading."""
    x, y = free_cell(worlds, b, worlds.random, b)
    worlds.position[b, 0], worlds.position[b, 1] = x, y
    worlds.heading[b] = draw(worlds.random, b, FULL_TURN)


@inner
def build(worlds: Worlds, rules: Rules, b: int) -> None:
    """Begins an episode of labyrinth b: builds the maze and puts objects and the agent into it."""
    random, source = worlds.random, b
    if rules.maze >= 0:
        random, source = np.full(1, rules.maze, np.uint64), 0
    worlds.time[b] = 0
    worlds.ended[b] = False
    worlds.kinds[b] = -1
    worlds.present[b] = False
    carve(worlds.walls[b], rules.layout, random, source)
    paint(worlds.walls[b], rules.textures, random, source)
    worlds.floor[b] = draw(random, source, FLOOR_TEXTURES)
    worlds.sky[b] = draw(random, source, FULL_TURN)
    if rules.layout == MAZE or rules.layout == ROOM:
        for i in range(rules.apples):
            x, y = free_cell(worlds, b, random, source)
            put(worlds, b, i, APPLE, x, y)
        if rules.portal:
            x, y = free_cell(worlds, b, random, source)
            put(worlds, b, rules.apples, PORTAL, x, y)
        put_agent_anywhere(worlds, b)
    else:
        put_t_maze(worlds, b)


@inner
def put_t_maze(worlds: Worlds, b: int) -> None:
    """Puts the agent at the foot of the T, a cue before it and an end on each side. The cue says which is correct."""
    size = worlds.walls.shape[1]
    middle, foot, left = size // 2 + 0.5, size // 2 + 1.5, draw(worlds.random, b, 2) == 0
    put(worlds, b, 0, LEFT_CUE if left else RIGHT_CUE, middle, foot - 1)
    put(worlds, b, 1, CORRECT_END if left else WRONG_END, 1.5, 1.5)
    put(worlds, b, 2, WRONG_END if left else CORRECT_END, size - 1.5, 1.5)
    worlds.position[b, 0], worlds.position[b, 1] = middle, foot
    worlds.heading[b] = 270  # north
