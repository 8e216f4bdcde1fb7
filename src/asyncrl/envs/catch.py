"""Catch: a ball falls one row per step, and a paddle on the bottom row moves to catch it (Mnih et al. 2014)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from asyncrl.errors import UserError

Batch = tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class CatchVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.int64], NDArray[Any]]):
    """Many games of Catch at once, in NumPy.

    Observations are boards [rows, columns] of 0 and 1. The actions are 0 left, 1 stay and 2 right. The reward is +1 for
    each ball that lands on the paddle and -1 for each other ball. The episode ends when its last ball has landed, so
    the best return with one ball is 1. A game resets itself on the step after its end (Gymnasium's NEXT_STEP).

    Args:
        num_envs: Number of games.
        rows: Height of the board; a ball takes rows - 1 steps to fall.
        columns: Width of the board.
        paddle_width: Columns that the paddle covers.
        balls: Number of balls in an episode.
        ball_interval: Steps between the starts of two balls. By default a ball starts when the one before has landed.
        noise: Probability that a cell of an observation is flipped.
        memory: Show a ball only in the row where it starts, and hold the paddle still meanwhile, so that only an agent
            that remembers the ball can do better than chance.
        render_mode: None, or "rgb_array".
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array"],
        "render_fps": 8,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        rows: int = 10,
        columns: int = 5,
        paddle_width: int = 1,
        balls: int = 1,
        ball_interval: int | None = None,
        noise: float = 0.0,
        memory: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if min(rows, columns) < 2:
            raise UserError(f"Catch needs at least 2 rows and 2 columns, not {rows} × {columns}")
        if not 1 <= paddle_width <= columns:
            raise UserError(f"Catch's paddle_width must lie between 1 and {columns} columns, not {paddle_width}")
        if balls < 1 or (ball_interval is not None and ball_interval < 1):
            raise UserError("Catch needs balls and ball_interval of at least 1")
        if not 0 <= noise <= 0.5:
            raise UserError(f"Catch's noise is a probability of at most 0.5, not {noise}")
        self.num_envs, self.render_mode = num_envs, render_mode
        self.rows, self.columns, self.paddle_width = rows, columns, paddle_width
        self.balls, self.noise, self.memory = balls, noise, memory
        interval = rows - 1 if ball_interval is None else ball_interval
        self.starts = np.arange(balls) * interval  # [balls], in steps of the episode
        self.last_step = int(self.starts[-1]) + rows - 1
        self.single_observation_space = Box(0.0, 1.0, (rows, columns), np.float32)
        self.single_action_space = Discrete(3)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.random = np.random.default_rng()
        self.time = np.zeros(num_envs, np.int64)
        self.paddle = np.zeros(num_envs, np.int64)
        self.ball_columns = np.zeros((num_envs, balls), np.int64)
        self.ended = np.ones(num_envs, np.bool_)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts a new episode in each game."""
        if seed is not None:
            self.random = np.random.default_rng(seed)  # type: ignore[arg-type]
        self._start(np.ones(self.num_envs, np.bool_))
        return self._observe(), {}

    def step(self, actions: NDArray[np.int64]) -> Batch:
        """Plays one step of each game. A game whose episode ended at the last step starts a new one instead."""
        starting = self.ended
        frozen = starting | (self._ball_rows() == 0).any(1) if self.memory else starting
        self.paddle += np.where(frozen, 0, np.asarray(actions) - 1)
        np.clip(self.paddle, 0, self.columns - self.paddle_width, out=self.paddle)
        self.time += ~starting

        offset = self.ball_columns - self.paddle[:, None]
        caught = (offset >= 0) & (offset < self.paddle_width)
        landed = (self._ball_rows() == self.rows - 1) & ~starting[:, None]
        rewards = (np.where(caught, 1.0, -1.0) * landed).sum(1)
        terminated = (self.time == self.last_step) & ~starting
        if starting.any():
            self._start(starting)
        self.ended = terminated
        return self._observe(), rewards, terminated, np.zeros(self.num_envs, np.bool_), {}

    def render(self) -> tuple[NDArray[np.uint8], ...]:
        """Draws each game as a picture [height, width, 3]."""
        board = self._board(hide=False)
        palette = np.array([[18, 22, 35], [255, 196, 61]], np.uint8)
        pictures = palette[board.astype(np.int64)].repeat(24, 1).repeat(24, 2)
        return tuple(pictures)

    def get_action_meanings(self) -> list[str]:
        """Returns the names of the actions."""
        return ["left", "stay", "right"]

    def boards_of(self, time: Any, ball_columns: Any, paddle: Any) -> NDArray[np.float32]:
        """Puts games with one ball into given states [B] and returns their observations [B, rows, columns]."""
        self.time, self.ball_columns, self.paddle = time, ball_columns[:, None], paddle
        return self._observe()

    def _start(self, games: NDArray[np.bool_]) -> None:
        count = int(games.sum())
        self.time[games] = 0
        self.paddle[games] = (self.columns - self.paddle_width) // 2
        self.ball_columns[games] = self.random.integers(self.columns, size=(count, self.balls))
        self.ended[games] = False

    def _ball_rows(self) -> NDArray[np.int64]:
        """Row of each ball [B, balls]: negative before it starts, and below the board after it has landed."""
        rows: NDArray[np.int64] = self.time[:, None] - self.starts
        return rows

    def _board(self, hide: bool) -> NDArray[np.float32]:
        board = np.zeros((self.num_envs, self.rows, self.columns), np.float32)
        rows = self._ball_rows()
        visible = (rows == 0) if hide else (rows >= 0) & (rows < self.rows)
        games, balls = np.nonzero(visible)
        board[games, rows[games, balls], self.ball_columns[games, balls]] = 1.0
        everyone = np.arange(self.num_envs)
        for part in range(self.paddle_width):
            board[everyone, self.rows - 1, self.paddle + part] = 1.0
        return board

    def _observe(self) -> NDArray[np.float32]:
        board = self._board(hide=self.memory)
        if self.noise:
            flipped = self.random.random(board.shape) < self.noise
            board = np.where(flipped, 1.0 - board, board).astype(np.float32)
        return board


class CatchEnv(gymnasium.Env[NDArray[np.float32], np.int64]):
    """One game of Catch, with the arguments of `CatchVectorEnv`."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 8}

    def __init__(self, render_mode: str | None = None, **knobs: Any) -> None:
        self.render_mode = render_mode
        self.games = CatchVectorEnv(1, **knobs)
        self.observation_space = self.games.single_observation_space
        self.action_space = self.games.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts a new episode."""
        super().reset(seed=seed)
        observations, info = self.games.reset(seed=seed)
        return observations[0], info

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Moves the paddle (0 left, 1 stay, 2 right) and lets the balls fall by one row."""
        observations, rewards, terminated, truncated, info = self.games.step(np.array([action]))
        return observations[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> NDArray[np.uint8]:
        """Draws the board as a picture [height, width, 3]."""
        return self.games.render()[0]
