"""Checks that observations and rewards are what an environment's spaces promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Space, Text
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from asyncrl.envs.observations import leaf_values
from asyncrl.errors import UserError

TOLERANCE = 0.5
"""Tolerance of a bound, relative to its size. Environments may compute in another precision than they declare, and
the hull of Gymnasium's BipedalWalker turns beyond its bound of ±π by a seventh."""
REMEDY = "fix the environment, or wrap it"


class DataCheck:
    """Refuses observations that are not finite or lie outside their space, and rewards that are not finite.

    Args:
        space: Space of one observation: a Box, or a Dict of Boxes.
        source: Where the data comes from, for messages, such as `Catch-v0, worker 3`.
    """

    def __init__(self, space: Space[Any], source: str) -> None:
        self.source = source
        self.bounds = {key: _bounds(box) for key, box in _boxes(space) if not _is_full(box)}

    def check(self, observations: Any, rewards: NDArray[np.float32], step: int) -> None:
        """Checks T steps of B environments.

        Args:
            observations: [T, B, ...], or one such array for each key.
            rewards: [T, B], or [0, B] if there are none.
            step: Number of the first of these steps.

        Raises:
            UserError: A number is wrong; the message names environment, worker, step and key.
        """
        if len(rewards) and not np.isfinite(rewards.sum()) and not np.isfinite(rewards).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(rewards))[0])
            self._refuse(place, step, f"its reward is {rewards[place]:g}")
        for key, (low, high) in self.bounds.items():
            rows = observations[key] if isinstance(observations, Mapping) else observations
            # NaN fails both comparisons
            if (rows.min((0, 1)) >= low).all() and (rows.max((0, 1)) <= high).all():
                continue
            place = tuple(int(i) for i in np.argwhere(~((rows >= low) & (rows <= high)))[0])
            what = f"observation {key!r}" if key else "observation"
            component = f" in component {list(place[2:])}" if place[2:] else ""
            bounds = f"[{low[place[2:]]:g}, {high[place[2:]]:g}]" if np.isfinite(rows[place]) else "the finite numbers"
            self._refuse(place, step, f"its {what} has {rows[place]:g}{component}, outside {bounds}")

    def explain(self, environments: VectorEnv[Any, Any, Any], step: int, error: Exception) -> None:
        """Looks for an observation that kept a vector from batching its environments' observations.

        Raises:
            UserError: An observation does not fit the space. If there is none, the method returns.
        """
        raw: Any = environments.unwrapped  # a SyncVectorEnv keeps the observations of each environment
        for number, observation in enumerate(getattr(raw, "_env_obs", None) or ()):
            if observation is None:
                continue
            problem = _problem(raw.single_observation_space, observation)
            if problem:
                text = f"{self.source}, environment {number}, step {step}: {problem}: {REMEDY}"
                raise UserError(text) from error

    def _refuse(self, place: tuple[int, ...], step: int, text: str) -> None:
        raise UserError(f"{self.source}, environment {place[1]}, step {step + place[0]}: {text}: {REMEDY}")


def _boxes(space: Space[Any]) -> Iterator[tuple[str, Box]]:
    if isinstance(space, Dict):
        for key, part in space.spaces.items():
            yield from ((key, box) for _, box in _boxes(part))
    elif isinstance(space, Box):
        yield "", space


def _problem(space: Space[Any], observation: Any) -> str:
    """What keeps an observation from being used; empty if nothing does."""
    try:
        parts = list(leaf_values(space, observation))
    except ValueError as error:
        return str(error)
    for path, part, value in parts:
        what = f"observation {path!r}" if path else "observation"
        if isinstance(part, Box):
            array = np.asarray(value)
            if array.shape != part.shape or not np.can_cast(array, part.dtype):
                found = f"{array.dtype} of shape {array.shape}"
                return f"its {what} is {found}, not {part.dtype} of shape {part.shape} as its space says"
        elif not isinstance(part, Text) and value not in part:
            return f"its {what} is {value}, which is not in {part}"
    return ""


def _is_full(box: Box) -> bool:
    """Whether the space contains every value of its dtype, as for images of bytes."""
    if box.dtype == np.bool_:
        return True
    if not np.issubdtype(box.dtype, np.integer):
        return False
    limits = np.iinfo(box.dtype)  # type: ignore[type-var]
    return bool((box.low == limits.min).all() and (box.high == limits.max).all())


def _bounds(box: Box) -> tuple[NDArray[Any], NDArray[Any]]:
    """Smallest and largest allowed value of each component; infinite values are never allowed."""
    if np.issubdtype(box.dtype, np.integer):
        return box.low, box.high
    largest = np.finfo(box.dtype).max  # type: ignore[type-var]
    low = np.maximum(box.low, -largest).astype(np.float64)
    high = np.minimum(box.high, largest).astype(np.float64)
    low, high = (bound + sign * TOLERANCE * np.maximum(1, abs(bound)) for bound, sign in ((low, -1), (high, 1)))
    return np.maximum(low, -largest), np.minimum(high, largest)
