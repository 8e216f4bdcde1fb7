"""Finds the margins of frames that show nothing: most of the picture in environments such as CartPole."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from asyncrl.analysis.episode import Frame

TOLERANCE = 40
"""The largest difference of a colour that JPEG may have made."""
KEPT_MARGIN = 0.05
"""Share of a frame's side that is kept of its empty margins."""


def without_margins(frames: Iterable[Frame]) -> tuple[slice, slice]:
    """The rows and columns of frames [H, W, 3] from the first to the last that differ from the first frame's edge."""
    frames = iter(frames)
    first = next(frames).astype(np.int16)
    sides = [(axis, edge) for axis in (0, 1) for edge in (0, -1)]
    differ = [np.zeros(first.shape[axis], bool) for axis, _ in sides]
    for frame in itertools.chain([first], (frame.astype(np.int16) for frame in frames)):
        for found, (axis, edge) in zip(differ, sides, strict=True):
            distance = np.abs(frame - first.take([edge], axis))
            found |= (distance > TOLERANCE).any((1 - axis, 2))
    top, bottom, left, right = (np.flatnonzero(found) for found in differ)
    return _with_margin(top, bottom, first.shape[0]), _with_margin(left, right, first.shape[1])


def _with_margin(begins: NDArray[np.int64], ends: NDArray[np.int64], length: int) -> slice:
    """From the first of some rows to the last of others, with a margin; all of them if there are none."""
    if not (len(begins) and len(ends)):
        return slice(0, length)
    kept = round(KEPT_MARGIN * length)
    return slice(max(0, int(begins[0]) - kept), min(length, int(ends[-1]) + 1 + kept))
