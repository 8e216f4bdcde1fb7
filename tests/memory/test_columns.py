"""Stacks of frames that a memory keeps once."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box

from asyncrl import kernels
from asyncrl.memory.columns import make_columns


@pytest.mark.parametrize("side", [8, 7])  # frames that fill vectors, and others
@pytest.mark.parametrize("compiled", [True, False])
def test_stacks_are_those_that_were_put_in(side: int, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(kernels, "available", lambda: False)
    rows, environments, random = 6, 3, np.random.default_rng(0)
    first = random.random((11, environments)) < 0.2
    first[0] = True
    stacks = np.zeros((11, environments, side, side, 4), np.uint8)
    for t in range(11):
        if t:
            stacks[t, ..., :3] = np.where(first[t, :, None, None, None], 0, stacks[t - 1, ..., 1:])
        stacks[t, ..., 3] = random.integers(1, 256, (environments, side, side))
    column = make_columns(Box(0, 255, (side, side, 4), np.uint8), 4, (rows, environments))
    ring = np.zeros((rows, environments), np.bool_)
    for t in range(11):
        column.put(np.array([t % rows]), stacks[t : t + 1])
        ring[t % rows] = first[t]
    at, which = np.array([8, 9, 10, 10, 9]), np.array([0, 2, 1, 2, 0])  # the first rows that need nothing overwritten
    assert np.array_equal(column.take(at, which, ring), stacks[at, which])
