"""The agent's actions and the environment's: which numbers an action space takes, and how they are put into it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from numpy.typing import NDArray

from asyncrl.errors import UserError


@dataclass(frozen=True)
class ActionCodec:
    """From the agent's actions [..., *shape] to the environment's.

    Discrete actions are counted from 0. Continuous ones are in units in which -1 and 1 are the bounds of the space (or
    in the space's own where it has none), and are clipped to the bounds here: what the agent drew, and what its
    log-probability belongs to, stays as it is.
    """

    shape: tuple[int, ...]  # of one action as the agent gives it
    dtype: type[np.int64] | type[np.float32]
    space: Space[Any]
    scale: Any = 1
    offset: Any = 0

    def to_environment(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Actions [B, *shape] as the environment takes them [B, ...]."""
        if not isinstance(self.space, Box):
            counted: NDArray[Any] = actions + self.offset
            return counted
        actions = (actions * self.scale + self.offset).reshape(-1, *self.space.shape)
        clipped: NDArray[Any] = np.clip(actions, self.space.low, self.space.high).astype(self.space.dtype)
        return clipped

    def one_hot(self, actions: NDArray[Any]) -> NDArray[np.float32]:
        """The environment's actions [B, ...] as numbers that a network can read [B, N], continuous ones in ± 1."""
        if isinstance(self.space, Box):
            flat = np.asarray(actions, np.float32).reshape(len(actions), -1)
            return np.asarray((flat - self.offset) / self.scale, np.float32)
        sizes = self.sizes
        columns = (actions - self.offset).reshape(len(actions), len(sizes))
        return np.concatenate([np.eye(n, dtype=np.float32)[columns[:, k]] for k, n in enumerate(sizes)], -1)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of choices of each discrete component; of each continuous one, 1."""
        if isinstance(self.space, Discrete):
            return (int(self.space.n),)
        if isinstance(self.space, MultiDiscrete):
            return tuple(int(n) for n in self.space.nvec)
        return (1,) * self.shape[0]


def action_codec(space: Space[Any]) -> ActionCodec:
    """The codec of an action space.

    Raises:
        UserError: Agents here cannot act in such a space.
    """
    if isinstance(space, Discrete):
        return ActionCodec((), np.int64, space, offset=int(space.start))
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return ActionCodec((len(space.nvec),), np.int64, space, offset=space.start)
    if isinstance(space, Box) and np.issubdtype(space.dtype, np.floating):
        low, high = (bound.astype(np.float64).reshape(-1) for bound in (space.low, space.high))
        bounded = np.isfinite(low) & np.isfinite(high)
        with np.errstate(invalid="ignore", over="ignore"):
            scale = np.where(bounded, (high - low) / 2, 1.0).astype(np.float32)
            offset = np.where(bounded, (high + low) / 2, 0.0).astype(np.float32)
        return ActionCodec((math.prod(space.shape),), np.float32, space, scale, offset)
    raise UserError(
        f"the action space {space} is not supported: take Discrete, MultiDiscrete (one row) or Box of floats"
    )
