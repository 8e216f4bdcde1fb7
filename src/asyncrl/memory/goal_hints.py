"""Hints for fitted Q iteration: observations of a goal, from a function of the user's own (Riedmiller 2005)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Space

from asyncrl.errors import UserError
from asyncrl.importing import import_object


def goal_observations(path: str, space: Space[Any]) -> Any:
    """What the function at an import path returns, as tensors [M, ...], or one for each key.

    Args:
        path: The import path `module:function`. The function is called without arguments.
        space: Of one observation.

    Raises:
        UserError: There is no such function, it fails, or it returns something else.
    """
    function = import_object(path, "function of --hint-to-goal")
    try:
        given = function()
    except Exception as error:
        raise UserError(f"--hint-to-goal {path}: the function fails ({type(error).__name__}: {error})") from error
    if not isinstance(space, Dict):
        return _rows(path, given, space, "observations")
    if not isinstance(given, Mapping) or set(given) != set(space.spaces):
        keys = ", ".join(space.spaces)
        raise UserError(f"--hint-to-goal {path}: the function should return a dictionary with the keys {keys}")
    return {key: _rows(path, given[key], part, repr(key)) for key, part in space.spaces.items()}


def _rows(path: str, given: Any, space: Space[Any], what: str) -> Any:
    """An array [M, ...] of the space as a tensor."""
    import torch

    assert isinstance(space, Box)
    try:
        rows = np.asarray(given, space.dtype)
    except (TypeError, ValueError):
        rows = np.zeros(0)
    if rows.shape[1:] != space.shape or not len(rows) or not np.isfinite(rows).all():
        shape = " × ".join(map(str, ("N", *space.shape)))
        raise UserError(f"--hint-to-goal {path}: the function should return {what} of shape {shape}, finite numbers")
    return torch.tensor(rows)
