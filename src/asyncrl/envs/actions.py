"""Converts the agent's actions to the environment's."""

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
    """Converts the agent's actions [..., *shape] to those of an action space.

    The agent counts discrete actions from 0. Its continuous actions are scaled so that -1 and 1 are the bounds of the
    space, if it has bounds. They are clipped here, on their way to the environment; the agent keeps what it drew, which
    its log-probability belongs to.
    """

    shape: tuple[int, ...]  # shape of one action of the agent
    dtype: type[np.int64] | type[np.float32]
    space: Space[Any]
    scale: Any = 1
    offset: Any = 0

    def to_environment(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Converts the agent's actions [B, *shape] to the environment's [B, ...]."""
        if not isinstance(self.space, Box):
            counted: NDArray[Any] = actions + self.offset
            return counted
        actions = (actions * self.scale + self.offset).reshape(-1, *self.space.shape)
        clipped: NDArray[Any] = np.clip(actions, self.space.low, self.space.high).astype(self.space.dtype)
        return clipped

    def one_hot(self, actions: NDArray[Any]) -> NDArray[np.float32]:
        """Encodes the environment's actions [B, ...] for a network [B, N]: one-hot, or scaled to ± 1 if continuous."""
        if isinstance(self.space, Box):
            flat = np.asarray(actions, np.float32).reshape(len(actions), -1)
            return np.asarray((flat - self.offset) / self.scale, np.float32)
        sizes = self.sizes
        columns = (actions - self.offset).reshape(len(actions), len(sizes))
        return np.concatenate([np.eye(n, dtype=np.float32)[columns[:, k]] for k, n in enumerate(sizes)], -1)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of choices of each discrete component, and 1 for each continuous one."""
        if isinstance(self.space, Discrete):
            return (int(self.space.n),)
        if isinstance(self.space, MultiDiscrete):
            return tuple(int(n) for n in self.space.nvec)
        return (1,) * self.shape[0]


def action_codec(space: Space[Any]) -> ActionCodec:
    """Returns the codec of an action space.

    Raises:
        UserError: The action space is not supported.
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
        f"the action space {space} is not supported: use Discrete, MultiDiscrete (one row) or Box of floats"
    )
