"""Arrays that keep the observations of recent steps: as they are, or the newest frame of each stack."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from gymnasium.spaces import Box, Dict, Space
from numpy.typing import NDArray

from asyncrl import kernels
from asyncrl.networks.images import channels_last, is_image
from asyncrl.tree import tree_map

if TYPE_CHECKING:
    from asyncrl.types import EnvironmentInfo

Rows = NDArray[np.int64]
Array = NDArray[Any]
Arrays = dict[str, NDArray[Any]]


class Column(Protocol):
    """What one array of the observations is kept in."""

    kept: Array

    def put(self, places: Rows, values: Array) -> None:
        """Takes in values [T, B, ...] for places [T] of the ring."""
        ...

    def take(self, rows: Rows, environments: Rows, first: NDArray[np.bool_]) -> Array:
        """The values [N, ...] of rows [N] and environments [N]; `first` [R, B] marks where episodes begin."""
        ...


class _Values:
    """Keeps arrays as they are."""

    def __init__(self, space: Box, leading: tuple[int, int]) -> None:
        self.kept = np.zeros((*leading, *space.shape), space.dtype)

    def put(self, places: Rows, values: Array) -> None:
        self.kept[places] = values

    def take(self, rows: Rows, environments: Rows, first: NDArray[np.bool_]) -> Array:
        taken: Array = self.kept[rows % len(self.kept), environments]
        return taken


class _Stacks:
    """Keeps the newest frame of each stack.

    The frames lie along the channels, newest last. Before an episode's first frame there are zeros.
    """

    def __init__(self, space: Box, stack: int, leading: tuple[int, int]) -> None:
        self.stack, self.axis = stack, 2 if channels_last(space) else 0  # of the channels, in one image
        shape = list(space.shape)
        shape[self.axis] //= stack
        self.kept = np.zeros((*leading, *shape), space.dtype)

    @cached_property
    def compiled(self) -> bool:
        """Whether a compiled loop puts the frames together."""
        shape = self.kept.shape[2:]
        usual = self.stack == 4 and self.axis == 2 and shape[2] == 1 and self.kept.dtype == np.uint8
        if not usual or not kernels.available():
            return False
        from asyncrl.kernels.stacks import fits

        return fits(math.prod(shape))

    def put(self, places: Rows, values: Array) -> None:
        channels = self.kept.shape[2 + self.axis]
        newest = [slice(None)] * values.ndim
        newest[2 + self.axis] = slice(values.shape[2 + self.axis] - channels, None)
        self.kept[places] = values[tuple(newest)]

    def take(self, rows: Rows, environments: Rows, first: NDArray[np.bool_]) -> Array:
        places, shown = self._frames(rows, environments, first)
        kept: Any = self.kept.reshape(-1, *self.kept.shape[2:])
        if self.compiled:
            from asyncrl.kernels.stacks import stacked

            taken: Array = stacked(kept[..., 0], places, shown)
            return taken
        frames: list[Array] = []
        for place, visible in zip(places.T, shown.T, strict=True):
            frame = kept[place]
            frame[~visible] = 0
            frames.append(frame)
        return _interleaved(frames) if frames[0].shape[-1] == 1 else np.concatenate(frames, 1 + self.axis)

    def _frames(self, rows: Rows, environments: Rows, first: NDArray[np.bool_]) -> tuple[Rows, NDArray[np.bool_]]:
        """The places of each stack's frames among all frames [N, S], oldest first, and whether they belong to it."""
        room, every = self.kept.shape[:2]
        places = np.empty((len(rows), self.stack), np.int64)
        shown = np.ones(places.shape, np.bool_)
        starts = first.reshape(-1)
        for back in range(self.stack):
            column = self.stack - 1 - back
            places[:, column] = (rows - back) % room * every + environments
            if column:
                shown[:, column - 1] = shown[:, column] & ~starts[places[:, column]]
        return places, shown


def _interleaved(frames: list[Array]) -> Array:
    """Frames, each [N, H, W, 1], side by side: [N, H, W, len(frames)]."""
    if len(frames) == 4 and frames[0].dtype == np.uint8:  # four bytes are one word, which is six times as fast
        words = frames[3][..., 0].astype("<u4")
        for frame in (frames[2], frames[1], frames[0]):
            np.left_shift(words, 8, out=words)
            np.bitwise_or(words, frame[..., 0], out=words)
        return words.view(np.uint8).reshape(*words.shape, 4)
    return np.concatenate(frames, -1)


def make_columns(space: Space[Any], stack: int, leading: tuple[int, int]) -> Any:
    """Room for observations of a space: a column, or one for each key of a dictionary.

    Args:
        space: Of one observation: a Box, or a Dict of them.
        stack: Frames in an image; 1 if images are no stacks.
        leading: Rows and environments [R, B].
    """
    if isinstance(space, Dict):
        return {key: make_columns(part, stack, leading) for key, part in space.spaces.items()}
    assert isinstance(space, Box)
    return _Stacks(space, stack, leading) if stack > 1 and is_image(space) else _Values(space, leading)


def bytes_per_step(environment: EnvironmentInfo) -> int:
    """Room that one step of one environment takes, in bytes, without its action and its recurrent state."""
    sizes: list[int] = []
    columns = make_columns(environment.observation_space, environment.frame_stack, (1, 1))
    tree_map(lambda column: sizes.append(column.kept.nbytes), columns)
    return sum(sizes) + 4 + 4 + 1 + 1  # reward, discount, valid, first
