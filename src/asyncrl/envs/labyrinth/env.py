"""The environments: many labyrinths in one compiled call, and a single one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from asyncrl.envs.labyrinth import kernel
from asyncrl.envs.labyrinth.knobs import Knobs
from asyncrl.envs.labyrinth.maps import draw_map
from asyncrl.envs.labyrinth.screen import HEIGHT, Screen, side_by_side
from asyncrl.envs.labyrinth.sprites import pictures
from asyncrl.envs.labyrinth.state import ACTIONS, SIZE, STEPS_PER_SECOND, empty_worlds

Frames = NDArray[np.uint8]
Batch = tuple[Frames, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]

MAP_CELL = 8
"""Pixels of a cell on the maps in `info`."""
LARGE_CELL = 32
"""Pixels of a cell on the maps of reports."""


class LabyrinthVectorEnv(VectorEnv[Frames, NDArray[np.int64], NDArray[Any]]):
    """Many labyrinths at once, which one compiled call steps and draws.

    An observation is what the agent sees [84, 84, 3], in red, green and blue, 90° wide. The eight actions look left and
    right, slowly (8°) and quickly (24°), and walk forward, backward, left and right by 0.21 of a cell. There are 15
    steps a second. An apple gives +1 and is gone. The portal gives +10, takes the agent to a random place and brings
    all apples back. The end of the time truncates an episode. Without a portal, the last apple terminates it.

    A labyrinth resets itself on the step after its end (Gymnasium's NEXT_STEP). Each has a random generator of its own:
    number i of a vector with the seed s is the same as a single labyrinth with the seed s + i.

    `info` has the agents' `position` [B, 2] (x to the east, y to the south, in cells) and `heading` [B] (degrees,
    clockwise from east), and with `map_in_info` the `map` [B, 8 · size, 8 · size, 3].

    Args:
        num_envs: Number of labyrinths [B].
        layout: "maze", a spanning tree of corridors; "room", a square without inner walls; or "t-maze", where a cue at
            the foot of the T says which of its two ends is correct and gives +1. The wrong end gives nothing. Both
            terminate. A red ball is the cue for the end on the left and a blue one for the end on the right. It is gone
            once the agent walks on.
        size: Cells along each side with the outer walls, an odd number.
        apples: Number of apples.
        portal: Whether there is a portal.
        textures: Number of different textures that the walls of one maze have.
        seconds: Length of an episode.
        maze: Number of a maze that is the same in each episode, with its apples, portal and textures; the agent
            begins anywhere. By default each episode has a new maze.
        map_in_info: Whether `info` has maps. They take longer to draw than all else.
        render_mode: None, or "rgb_array", which draws view and map side by side.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array"],
        "render_fps": STEPS_PER_SECOND,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        layout: Any = "maze",
        size: int = 15,
        apples: int = 10,
        portal: bool = True,
        textures: int = 4,
        seconds: float = 60.0,
        maze: int | None = None,
        map_in_info: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self.knobs = Knobs(layout, size, apples, portal, textures, seconds, maze)
        self.num_envs, self.render_mode, self.map_in_info = num_envs, render_mode, map_in_info
        self.single_observation_space = Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.single_action_space = Discrete(len(ACTIONS))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.worlds = empty_worlds(num_envs, size, self.knobs.objects)
        self.rules, self.pictures = self.knobs.rules(), pictures()
        self._seed(None)
        self._frames = np.zeros((num_envs, SIZE, SIZE, 3), np.uint8)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Frames, dict[str, Any]]:
        """Begins a new episode in each labyrinth."""
        if seed is not None:
            self._seed(seed)
        self.worlds.ended[:] = True
        frames, *_, info = self.step(np.zeros(self.num_envs, np.int64))
        return frames, info

    def step(self, actions: NDArray[np.int64]) -> Batch:
        """Plays one step of each labyrinth. One whose episode ended at the last step begins a new episode instead."""
        actions = np.asarray(actions, np.int64)
        if actions.shape != (self.num_envs,) or actions.min() < 0 or actions.max() >= len(ACTIONS):
            raise ValueError(f"Labyrinth takes {self.num_envs} actions from 0 to {len(ACTIONS) - 1}, not {actions}")
        frames = self._frames = np.empty_like(self._frames)
        rewards = np.empty(self.num_envs)
        terminated, truncated = np.empty(self.num_envs, np.bool_), np.empty(self.num_envs, np.bool_)
        kernel.step(self.worlds, self.rules, self.pictures, actions, frames, rewards, terminated, truncated)
        return frames, rewards, terminated, truncated, self._info()

    def get_action_meanings(self) -> list[str]:
        """Returns the names of the actions."""
        return list(ACTIONS)

    def render(self) -> tuple[Frames, ...]:
        """Draws each labyrinth as a picture [336, 672, 3]: what the agent sees, and the map beside it."""
        cell = HEIGHT // self.knobs.size
        return tuple(side_by_side(frame, draw_map(self.worlds, b, cell)) for b, frame in enumerate(self._frames))

    def _seed(self, seed: int | Sequence[int | None] | None) -> None:
        """Seeds each labyrinth's random generator."""
        if seed is None or isinstance(seed, int | np.integer):
            seeds = [None if seed is None else seed + b for b in range(self.num_envs)]
        else:
            seeds = list(seed)
        self.worlds.random[:] = [np.random.SeedSequence(one).generate_state(1, np.uint64)[0] for one in seeds]

    def _info(self) -> dict[str, Any]:
        info = {"position": self.worlds.position.copy(), "heading": self.worlds.heading.copy()}
        if self.map_in_info:
            info["map"] = np.stack([draw_map(self.worlds, b, MAP_CELL) for b in range(self.num_envs)])
        everyone = np.ones(self.num_envs, np.bool_)
        return info | {f"_{name}": everyone for name in info}


class LabyrinthEnv(gymnasium.Env[Frames, np.int64]):
    """One labyrinth, with the arguments of `LabyrinthVectorEnv`. Its `render_mode` may also be "human", a window."""

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": STEPS_PER_SECOND}

    def __init__(self, render_mode: str | None = None, **knobs: Any) -> None:
        self.render_mode = render_mode
        self.labyrinths = LabyrinthVectorEnv(1, **knobs)
        self.observation_space = self.labyrinths.single_observation_space
        self.action_space = self.labyrinths.single_action_space
        self._screen = Screen("Labyrinth", STEPS_PER_SECOND) if render_mode == "human" else None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Frames, dict[str, Any]]:
        """Begins a new episode."""
        super().reset(seed=seed)
        frames, info = self.labyrinths.reset(seed=seed)
        self._show()
        return frames[0], _first(info)

    def step(self, action: np.int64) -> tuple[Frames, float, bool, bool, dict[str, Any]]:
        """Turns or moves the agent."""
        frames, rewards, terminated, truncated, info = self.labyrinths.step(np.array([action]))
        self._show()
        return frames[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), _first(info)

    def render(self) -> Frames | None:
        """Returns the view with the map beside it [336, 672, 3]; the window shows itself."""
        return None if self._screen is not None else self.labyrinths.render()[0]

    def from_above(self) -> tuple[Frames, int]:
        """Draws the labyrinth from above, and says how many pixels wide a cell is."""
        return draw_map(self.labyrinths.worlds, 0, LARGE_CELL), LARGE_CELL

    def close(self) -> None:
        """Closes the window."""
        if self._screen is not None:
            self._screen.close()

    def get_action_meanings(self) -> list[str]:
        """Returns the names of the actions."""
        return list(ACTIONS)

    def _show(self) -> None:
        if self._screen is not None:
            self._screen.show(self.labyrinths.render()[0])


def _first(info: dict[str, Any]) -> dict[str, Any]:
    """The info of the first labyrinth of a vector."""
    return {name: value[0] for name, value in info.items() if not name.startswith("_")}
