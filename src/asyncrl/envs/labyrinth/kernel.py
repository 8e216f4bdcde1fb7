"""The compiled function that Python calls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from asyncrl.envs.labyrinth.compiled import SOURCES, entry
from asyncrl.envs.labyrinth.mazes import build
from asyncrl.envs.labyrinth.motion import play
from asyncrl.envs.labyrinth.state import Pictures, Rules, Worlds
from asyncrl.envs.labyrinth.view import look


def _made_from(sources: int) -> Callable[..., None]:
    @entry
    def step(
        worlds: Worlds,
        rules: Rules,
        pictures: Pictures,
        actions: NDArray[np.int64],
        frames: NDArray[np.uint8],
        rewards: NDArray[np.float64],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
    ) -> None:
        """Steps each labyrinth; one whose episode has ended begins a new one. Draws frames [B, SIZE, SIZE, 3]."""
        assert sources  # belongs to the name under which the compiled function is kept
        for b in range(len(frames)):
            if worlds.ended[b]:
                build(worlds, rules, b)
                rewards[b], terminated[b], truncated[b] = 0.0, False, False
            else:
                rewards[b], terminated[b], truncated[b] = play(worlds, rules, b, actions[b])
            look(frames[b], worlds, pictures, b)

    return step


step = _made_from(SOURCES)
