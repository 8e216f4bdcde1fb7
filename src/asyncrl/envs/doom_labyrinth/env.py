"""The environment: Labyrinth's task in mazes that ViZDoom's engine draws."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import vizdoom
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from asyncrl.envs.doom_labyrinth.wad import APPLE, CELL, PLAYER, PORTAL, Thing, archive, text_map
from asyncrl.envs.labyrinth import state
from asyncrl.envs.labyrinth.env import LARGE_CELL, LabyrinthVectorEnv
from asyncrl.envs.labyrinth.maps import draw_map
from asyncrl.envs.labyrinth.screen import HEIGHT, side_by_side
from asyncrl.envs.labyrinth.state import ACTIONS, FULL_TURN, TURNS
from asyncrl.envs.vizdoom import end_with_this_process
from asyncrl.errors import UserError

Frame = NDArray[np.uint8]

MAZES = 99
"""Mazes of an archive, the most that two digits can number. After the last one a new archive is written."""
TICS_PER_SECOND = 35
"""The engine's rate."""
SPEED = 35
"""How fast the agent walks; 50 is running in Doom."""
WARM_UP = 12
"""Tics after the start of a map in which the engine does not let the player move."""
HEALTH = 100.0
"""The player's health at the start of a map."""
MOST_APPLES = 100
"""An apple gives a point of health, and health ends at 200."""

BUTTONS = ("MOVE_FORWARD_BACKWARD_DELTA", "MOVE_LEFT_RIGHT_DELTA", "TURN_LEFT_RIGHT_DELTA")
WAYS = np.array([[0, 0], [0, 0], [0, 0], [0, 0], [1, 0], [-1, 0], [0, -1], [0, 1]]) * SPEED
"""What each action presses of the first two buttons."""


class DoomLabyrinthEnv(gymnasium.Env[Frame, np.int64]):
    """Labyrinth's task, mazes and actions in the engine of Doom, seen in color.

    Each episode has a new maze, which Labyrinth's generator makes. The eight actions look left and right, slowly (8°)
    and quickly (24°), and walk forward, backward, left and right. An apple gives +1 and is gone. The portal gives +10,
    takes the agent to a random place and brings all apples back. The end of the time truncates an episode. Without a
    portal, the last apple terminates it.

    `info` has the agent's `position` (x to the east, y to the south, in cells) and `heading` (degrees, clockwise from
    east). Walking has the inertia that it has in Doom.

    Args:
        layout: "maze" or "room", as in Labyrinth.
        size: Cells along each side with the outer walls, an odd number.
        apples: Number of apples.
        portal: Whether there is a portal.
        textures: Number of different textures that the walls of one maze have.
        seconds: Length of an episode, at 35 of the engine's tics a second.
        maze: Number of a maze that is the same in each episode; the agent begins anywhere.
        frame_skip: Tics for which an action lasts.
        screen_resolution: Name of one of the engine's resolutions.
        render_mode: None, or "rgb_array", which draws the view and a map side by side.

    Raises:
        UserError: An argument makes no sense.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": TICS_PER_SECOND // 4}

    def __init__(
        self,
        *,
        layout: Any = "maze",
        size: int = 9,
        apples: int = 10,
        portal: bool = True,
        textures: int = 4,
        seconds: float = 60.0,
        maze: int | None = None,
        frame_skip: int = 4,
        screen_resolution: str = "RES_160X120",
        render_mode: str | None = None,
    ) -> None:
        if layout == "t-maze":
            raise UserError('VizdoomLabyrinth has the layouts "maze" and "room"; the T-maze is LabyrinthTMaze-v0')
        if apples > MOST_APPLES:
            raise UserError(f"VizdoomLabyrinth can count at most {MOST_APPLES} apples, not {apples}")
        if frame_skip < 1:
            raise UserError(f"VizdoomLabyrinth's frame_skip must be at least 1, not {frame_skip}")
        resolution = getattr(vizdoom.ScreenResolution, str(screen_resolution), None)
        if resolution is None:
            raise UserError(f"the engine has no screen_resolution {screen_resolution!r}: take RES_160X120, for example")
        knobs = {"layout": layout, "size": size, "apples": apples, "portal": portal, "textures": textures, "maze": maze}
        self.mazes = LabyrinthVectorEnv(1 if maze is not None else MAZES, seconds=seconds, **knobs)
        self.apples, self.portal, self.frame_skip, self.render_mode = apples, portal, frame_skip, render_mode
        self.steps_in_episode = max(1, round(seconds * TICS_PER_SECOND / frame_skip))
        self.game = _game(resolution)
        shape = self.game.get_screen_height(), self.game.get_screen_width(), 3
        self.observation_space = Box(0, 255, shape, np.uint8)
        self.action_space = Discrete(len(ACTIONS))
        self.number = -1  # of the present maze in the archive
        self.health = HEALTH
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Frame, dict[str, Any]]:
        """Begins an episode in the next maze."""
        super().reset(seed=seed)
        self.number += self.mazes.knobs.maze is None
        if seed is not None or not self.game.is_running() or self.number == self.mazes.num_envs:
            self._write_mazes()
        self.game.set_doom_map(f"map{self.number + 1:02d}")
        self.steps = 0
        self._begin()
        return self._frame(), self._info()

    def step(self, action: np.int64) -> tuple[Frame, float, bool, bool, dict[str, Any]]:
        """Acts for `frame_skip` tics."""
        forward, right = WAYS[action]
        turn = TURNS[action] / self.frame_skip  # degrees for each tic
        self.game.make_action([float(forward), float(right), float(turn)], self.frame_skip)
        self.steps += 1
        self._follow()
        health, armor = self._variables("HEALTH", "ARMOR")
        reward = (health - self.health) * state.REWARDS[state.APPLE] + (armor > 0) * state.REWARDS[state.PORTAL]
        self.health = health
        if armor:
            self._begin()
        terminated = not self.portal and not self.mazes.worlds.present[self.number].any()
        truncated = not terminated and self.steps >= self.steps_in_episode
        return self._frame(), reward, terminated, truncated, self._info()

    def render(self) -> Any:
        """Draws the middle of what the agent sees, and the map beside it [336, 672, 3]."""
        frame = self._frame()
        height, width, _ = frame.shape
        middle = frame[:, (width - height) // 2 : (width + height) // 2]
        return side_by_side(middle, draw_map(self.mazes.worlds, self.number, HEIGHT // self.mazes.knobs.size))

    def from_above(self) -> tuple[Frame, int]:
        """Draws the labyrinth from above, and says how many pixels wide a cell is."""
        return draw_map(self.mazes.worlds, self.number, LARGE_CELL), LARGE_CELL

    def close(self) -> None:
        """Ends the engine."""
        self.game.close()

    def _write_mazes(self) -> None:
        """Starts the engine with an archive of new mazes."""
        self.mazes.reset(seed=int(self.np_random.integers(2**31)))
        self.game.close()
        self.game.set_seed(int(self.np_random.integers(2**31)))
        with tempfile.TemporaryDirectory(prefix="asyncrl-", ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "mazes.wad"
            path.write_bytes(archive(self._map(number) for number in range(self.mazes.num_envs)))
            self.game.set_doom_scenario_path(str(path))
            self.game.set_doom_map("map01")
            self.game.init()  # the engine keeps the file open, so Windows keeps it in the folder for temporary files
        self.number = 0

    def _map(self, number: int) -> str:
        worlds = self.mazes.worlds
        places = zip(worlds.kinds[number].tolist(), worlds.places[number].tolist(), strict=True)
        things: list[Thing] = [(PORTAL if kind == state.PORTAL else APPLE, x, y) for kind, (x, y) in places]
        return text_map(worlds.walls[number], [(PLAYER, *things[0][1:]), *things])

    def _begin(self) -> None:
        """Starts the present map anew, with the agent at a random place without an object."""
        worlds, number = self.mazes.worlds, self.number
        worlds.present[number] = True
        taken = {(int(x), int(y)) for x, y in worlds.places[number]}
        free = [(x, y) for y, x in np.argwhere(worlds.walls[number] == 0).tolist() if (x, y) not in taken]
        x, y = free[self.np_random.integers(len(free))]
        heading = int(self.np_random.integers(FULL_TURN))
        self.game.new_episode()
        self.game.send_game_command(f"warp {(x + 0.5) * CELL} {-(y + 0.5) * CELL}")
        self.game.make_action([0.0, 0.0, float((heading + 180) % FULL_TURN - 180)], 1)
        self.health = HEALTH
        self._follow()

    def _follow(self) -> None:
        """Writes down where the agent is, and which apples are gone."""
        worlds, number = self.mazes.worlds, self.number
        x, y, angle = self._variables("POSITION_X", "POSITION_Y", "ANGLE")
        worlds.position[number] = x / CELL, -y / CELL
        worlds.heading[number] = round(-angle) % FULL_TURN
        (health,) = self._variables("HEALTH")
        distances = np.abs(worlds.places[number] - worlds.position[number]).max(-1)
        apples = worlds.present[number] & (worlds.kinds[number] == state.APPLE)
        for _ in range(int(apples.sum()) - self.apples + int(health - HEALTH)):
            nearest = np.argmin(np.where(apples, distances, np.inf))
            worlds.present[number, nearest] = apples[nearest] = False

    def _variables(self, *names: str) -> Any:
        return tuple(self.game.get_game_variable(getattr(vizdoom.GameVariable, name)) for name in names)

    def _frame(self) -> Frame:
        return np.array(self.game.get_state().screen_buffer)

    def _info(self) -> dict[str, Any]:
        worlds, number = self.mazes.worlds, self.number
        return {"position": worlds.position[number].copy(), "heading": int(worlds.heading[number])}


def _game(resolution: Any) -> Any:
    """The engine, before it is started."""
    game = vizdoom.DoomGame()
    end_with_this_process(game)
    game.set_doom_game_path(str(Path(vizdoom.__file__).parent / "freedoom2.wad"))
    game.set_screen_resolution(resolution)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_available_buttons([getattr(vizdoom.Button, name) for name in BUTTONS])
    game.set_episode_start_time(WARM_UP)
    game.set_episode_timeout(0)
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    for part in ("hud", "weapon", "crosshair", "decals", "particles", "messages"):
        getattr(game, f"set_render_{part}")(False)
    return game
