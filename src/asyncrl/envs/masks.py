"""Action masks: which actions an environment allows, as a part of what its agent observes."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Space, flatdim
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from asyncrl.envs.actions import action_codec
from asyncrl.errors import UserError
from asyncrl.types import ACTION_MASK, OBSERVATION


def observes_mask(space: Space[Any]) -> bool:
    """Whether observations hold a mask of actions."""
    return isinstance(space, Dict) and ACTION_MASK in space.spaces


def joined(mask: Any) -> NDArray[Any]:
    """Returns a mask as one array [..., A]; a tuple holds one mask for each component of an action."""
    if isinstance(mask, tuple | list) and len(mask) and np.ndim(mask[0]):
        return np.concatenate([np.asarray(part) for part in mask], -1)
    return np.asarray(mask)


class WithActionMask(VectorWrapper[Any, Any, Any]):
    """Puts a mask of the allowed actions into each observation, under the key `action_mask`.

    The environments give it in `info["action_mask"]` of each reset and step, or under that key of Dict observations. It
    has an entry for each action, 0 where the action is not allowed. For MultiDiscrete actions it has an entry for each
    choice of each component, the components one after another. A terminal state needs no mask.

    Args:
        env: Resets itself on the step after an end (NEXT_STEP).
        source: Name of the environment, for messages.

    Raises:
        UserError: The actions cannot be masked, or not by such a mask.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], source: str) -> None:
        super().__init__(env)
        self.source = source
        if isinstance(env.single_action_space, Box):
            raise UserError(f"{source} gives an action_mask, which Box actions cannot have: leave it out")
        sizes = action_codec(env.single_action_space).sizes
        self.starts = np.cumsum([0, *sizes[:-1]])  # of each component's entries
        inner = env.single_observation_space
        spaces = dict(inner.spaces) if isinstance(inner, Dict) else {OBSERVATION: inner}
        self.is_observed = ACTION_MASK in spaces
        if set(spaces) == {ACTION_MASK}:
            raise UserError(f"{source} observes nothing but its action_mask: add another key to its observations")
        self.space = Box(0, 1, (sum(sizes),), np.int8)
        if self.is_observed:
            self._check_shape((flatdim(spaces[ACTION_MASK]),))
        self.single_observation_space = Dict({**spaces, ACTION_MASK: self.space})
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts all episodes anew.

        Raises:
            UserError: A mask is missing or wrong.
        """
        observations, info = self.env.reset(seed=seed, options=options)
        return self._with_mask(observations, info, np.zeros(self.num_envs, np.bool_)), info

    def step(self, actions: Any) -> Any:
        """Steps all environments.

        Raises:
            UserError: A mask is missing or wrong.
        """
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        return self._with_mask(observations, info, terminated), rewards, terminated, truncated, info

    def _with_mask(self, observations: Any, info: dict[str, Any], terminated: NDArray[np.bool_]) -> dict[str, Any]:
        given = joined(observations[ACTION_MASK]) if self.is_observed else self._from_info(info, terminated)
        allowed = given.reshape(self.num_envs, -1) != 0  # [B, A]
        stuck = ~np.logical_or.reduceat(allowed, self.starts, 1).all(1)  # [B]
        if stuck.any():
            if (stuck & ~terminated).any():
                number = int(np.flatnonzero(stuck & ~terminated)[0])
                raise UserError(
                    f"{self.source}, environment {number}: its action_mask allows no action, but the episode goes on: "
                    "allow an action, or end the episode (terminated)"
                )
            allowed[stuck] = True  # no action follows a terminal state
        rest = observations if isinstance(self.env.single_observation_space, Dict) else {OBSERVATION: observations}
        return {**rest, ACTION_MASK: allowed.astype(np.int8)}

    def _from_info(self, info: dict[str, Any], terminated: NDArray[np.bool_]) -> NDArray[Any]:
        """The masks [B, A]; Gymnasium's vectors say in `_action_mask` which of their environments gave one."""
        masks = info.get(ACTION_MASK, ())
        given = np.broadcast_to(info.get(f"_{ACTION_MASK}", len(masks) > 0), self.num_envs)
        missing = ~(given | terminated)
        if missing.any():
            raise UserError(
                f"{self.source}, environment {int(np.flatnonzero(missing)[0])}: no action_mask in its info, though a "
                "reset before gave one: give one in the info of each reset and step"
            )
        if given.all() and np.asarray(masks).dtype != np.object_:
            rows = np.asarray(masks).reshape(self.num_envs, -1)
            self._check_shape(rows.shape[1:])
            return rows
        rows = np.ones((self.num_envs, *self.space.shape), np.int8)
        for number in np.flatnonzero(given):
            row = joined(masks[number]).reshape(-1)
            self._check_shape(row.shape)
            rows[number] = row
        return rows

    def _check_shape(self, shape: tuple[int, ...] | None) -> None:
        if shape != self.space.shape:
            raise UserError(
                f"{self.source}: its action_mask has shape {shape}, but {self.single_action_space} needs "
                f"{self.space.shape}: one entry for each action, or for each choice of each component of an action"
            )
