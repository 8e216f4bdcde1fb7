"""One step of a labyrinth: turning, walking against walls, and touching objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asyncrl.envs.labyrinth import state
from asyncrl.envs.labyrinth.compiled import inner
from asyncrl.envs.labyrinth.mazes import put_agent_anywhere
from asyncrl.envs.labyrinth.state import BODY, COSINES, FULL_TURN, MOVES, REACH, REWARDS, SINES, TURNS, Rules, Worlds

APPLE, PORTAL, CORRECT_END = state.APPLE, state.PORTAL, state.CORRECT_END
_MARGIN = 1e-9


@inner
def is_free(walls: NDArray[np.uint8], x: float, y: float) -> bool:
    """Whether a body can stand at a place without a wall inside it."""
    west, east, north, south = int(x - BODY), int(x + BODY), int(y - BODY), int(y + BODY)
    return not (walls[north, west] or walls[north, east] or walls[south, west] or walls[south, east])


@inner
def before_wall(place: float, move: float) -> float:
    """Where a body that moves along one axis and would enter a wall stands still: it touches the wall."""
    if move > 0:
        return np.floor(place + move + BODY) - BODY - _MARGIN  # type: ignore[no-any-return]
    return np.floor(place + move - BODY) + 1 + BODY + _MARGIN  # type: ignore[no-any-return]


@inner
def walk(worlds: Worlds, b: int, dx: float, dy: float) -> None:
    """Moves the agent along each axis in turn, so that it slides along walls."""
    walls, position = worlds.walls[b], worlds.position[b]
    x, y = position[0], position[1]
    if dx != 0:
        x = x + dx if is_free(walls, x + dx, y) else before_wall(x, dx)
    if dy != 0:
        y = y + dy if is_free(walls, x, y + dy) else before_wall(y, dy)
    position[0], position[1] = x, y


@inner
def act(worlds: Worlds, b: int, action: int) -> None:
    """Turns or moves the agent."""
    heading = (worlds.heading[b] + TURNS[action]) % FULL_TURN
    worlds.heading[b] = heading
    forward, right = MOVES[action, 0], MOVES[action, 1]
    cosine, sine = COSINES[heading], SINES[heading]
    walk(worlds, b, forward * cosine - right * sine, forward * sine + right * cosine)


@inner
def touch(worlds: Worlds, b: int) -> int:
    """The first object within reach; -1 if there is none."""
    for i in range(worlds.kinds.shape[1]):
        if worlds.present[b, i]:
            dx = worlds.places[b, i, 0] - worlds.position[b, 0]
            dy = worlds.places[b, i, 1] - worlds.position[b, 1]
            if dx * dx + dy * dy < REACH * REACH:
                return i
    return -1


@inner
def apples_left(worlds: Worlds, b: int) -> bool:
    """Whether an apple is left to eat."""
    return bool((worlds.present[b] & (worlds.kinds[b] == APPLE)).any())


@inner
def play(worlds: Worlds, rules: Rules, b: int, action: int) -> tuple[float, bool, bool]:
    """Plays one step of labyrinth b and returns its reward and whether the episode terminated or was truncated."""
    act(worlds, b, action)
    worlds.time[b] += 1
    reward, terminated, i = 0.0, False, touch(worlds, b)
    if i >= 0:
        kind = worlds.kinds[b, i]
        reward = REWARDS[kind]
        if kind == PORTAL:
            for j in range(worlds.kinds.shape[1]):
                worlds.present[b, j] = worlds.kinds[b, j] >= 0
            put_agent_anywhere(worlds, b)
        else:
            worlds.present[b, i] = False
            terminated = kind >= CORRECT_END or (kind == APPLE and not rules.portal and not apples_left(worlds, b))
    truncated = not terminated and worlds.time[b] >= rules.steps
    worlds.ended[b] = terminated or truncated
    return reward, terminated, truncated
