"""Lost lives, for agents that learn as if a lost life were the end of an episode."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from asyncrl.errors import UserError

LIFE_LOST = "asyncrl/life_lost"
"""Key of the info of a step: bool [B], true where the step lost a life."""


class WithLifeLoss(VectorWrapper[Any, Any, Any]):
    """Adds to the info of each step which environments lost a life in it.

    The environments must report `info["lives"]` at every reset and step, as ale-py's do. Their episodes go on until the
    game is over.

    Args:
        env: Resets itself on the step after an end (NEXT_STEP).
        source: Name of the environment, for messages.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], source: str) -> None:
        super().__init__(env)
        self.source = source
        self.lives: NDArray[Any] = np.zeros(env.num_envs)
        self.ended = np.zeros(env.num_envs, np.bool_)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts all episodes anew.

        Raises:
            UserError: The environments report no lives.
        """
        observations, info = self.env.reset(seed=seed, options=options)
        self.lives = self._read_lives(info)
        self.ended[:] = False
        return observations, info

    def step(self, actions: Any) -> Any:
        """Steps all environments.

        Raises:
            UserError: The environments report no lives.
        """
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        lives = self._read_lives(info)
        lost = (lives < self.lives) & ~self.ended  # a new episode may begin with fewer lives than the last one had left
        self.lives = lives
        self.ended = np.logical_or(terminated, truncated) & ~self.ended
        return observations, rewards, terminated, truncated, {**info, LIFE_LOST: lost}

    def _read_lives(self, info: dict[str, Any]) -> NDArray[Any]:
        """Lives [B]; Gymnasium's vectors say in `_lives` which of their environments reported them."""
        if "lives" not in info or not np.all(info.get("_lives", True)):
            raise UserError(
                f'{self.source} reports no lives (info["lives"] of each reset and step): '
                "leave out --zero-discount-on-life-loss"
            )
        return np.array(info["lives"])
