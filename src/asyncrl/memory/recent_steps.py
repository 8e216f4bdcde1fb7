"""The latest steps of a worker's environments, in a ring of rows that keeps each frame of an image once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from gymnasium.spaces import Box, Dict, Space
from numpy.typing import NDArray

from asyncrl.tree import pack, tree_map, unpack
from asyncrl.types import Rollout

if TYPE_CHECKING:
    from asyncrl.types import EnvironmentInfo

Rows = NDArray[np.int64]
Array = NDArray[Any]


class RecentSteps:
    """A ring of rows; a row holds one step of each of a worker's B environments, as the rollouts had it.

    Rows are numbered from the worker's first step on, and row t lies at place t modulo `rows`. A stack of frames is
    kept as its newest frame, and put together again from the rows before it.

    Args:
        rows: Room, in rows [R]: a multiple of the rollouts' length.
        environments: Number of environments [B].
        rollout_length: Steps of each rollout [T]. The recurrent state before each rollout is kept.
        environment: The environments' spaces and frame stack.
    """

    def __init__(self, rows: int, environments: int, rollout_length: int, environment: EnvironmentInfo) -> None:
        self.rows, self.environments, self.rollout_length = rows, environments, rollout_length
        self.written = 0  # rows so far
        self.overlap = environment.frame_stack - 1  # rows before a row that its observation may need
        leading = (rows, environments)
        self.observed = _columns(environment.observation_space, environment.frame_stack, leading)
        self.actions: Array | None = None  # [R, B, ...]; the first rollout tells their kind
        self.rewards, self.discounts = np.zeros(leading, np.float32), np.zeros(leading, np.float32)
        self.valid, self.first = np.zeros(leading, np.bool_), np.zeros(leading, np.bool_)
        self.states: list[Array] = []  # before each rollout, each [R / T, B, H]
        self.behaviour: dict[str, Array] = {}  # outputs of heads while acting, each [R, B, ...]

    @property
    def oldest(self) -> int:
        """The oldest row whose observation is still complete."""
        lost = self.written - self.rows
        return lost + self.overlap if lost > 0 else 0

    def append(self, rollout: Rollout) -> None:
        """Copies a rollout's steps into the next rows, over the oldest ones."""
        steps = len(rollout.actions)
        if self.actions is None:
            self.actions = np.zeros((self.rows, *rollout.actions.shape[1:]), rollout.actions.numpy().dtype)
            self.states = [
                np.zeros((self.rows // self.rollout_length, *part.shape), np.float32) for part in rollout.state
            ]
            self.behaviour = {
                name: np.zeros((self.rows, *outputs.shape[1:]), np.float32)
                for name, outputs in rollout.behaviour.items()
            }
        places = np.arange(self.written, self.written + steps) % self.rows
        tree_map(lambda column, values: column.put(places, values[:steps].numpy()), self.observed, rollout.observations)
        self.actions[places] = rollout.actions.numpy()
        self.rewards[places] = rollout.rewards.numpy()
        self.discounts[places] = rollout.discounts.numpy()
        self.valid[places] = rollout.valid.numpy()
        self.first[places] = rollout.first[:steps].numpy()
        for kept, part in zip(self.states, rollout.state, strict=True):
            kept[places[0] // self.rollout_length] = part.numpy()
        for name, outputs in rollout.behaviour.items():
            self.behaviour[name][places] = outputs.numpy()
        self.written += steps

    def observations(self, rows: Rows, environments: Rows) -> Any:
        """The observations of some rows and environments, each [N]: [N, ...], or that for each key."""
        return tree_map(lambda column: column.take(rows, environments, self.first), self.observed)

    def sequences(self, rows: Rows, environments: Rows, length: int) -> Rollout:
        """Steps as they were acted, as rollouts of N sequences.

        Args:
            rows: Where each sequence begins [N]. For recurrent networks a rollout began there too.
            environments: Of each sequence [N].
            length: Steps of each [T]. The observation after them must be there.
        """
        import torch

        at = rows + np.arange(length + 1)[:, None]  # [T+1, N]
        place = at % self.rows, np.broadcast_to(environments, at.shape)
        observed = self.observations(at.reshape(-1), np.tile(environments, length + 1))
        assert self.actions is not None

        def kept(column: Array, steps: int = length) -> torch.Tensor:
            return torch.from_numpy(column[place][:steps])

        return Rollout(
            observations=tree_map(
                lambda values: torch.from_numpy(values.reshape(length + 1, len(rows), *values.shape[1:])), observed
            ),
            actions=kept(self.actions),
            rewards=kept(self.rewards),
            discounts=kept(self.discounts),
            valid=kept(self.valid),
            first=kept(self.first, length + 1),
            state=tuple(
                torch.from_numpy(part[rows % self.rows // self.rollout_length, environments]) for part in self.states
            ),
            behaviour={name: kept(outputs) for name, outputs in self.behaviour.items()},
        )

    def arrays(self) -> dict[str, Array]:
        """Everything it keeps, for `restore`."""
        if self.actions is None:
            return {}
        names = {"actions": self.actions, "rewards": self.rewards, "discounts": self.discounts}
        states = pack("state", {str(number): kept for number, kept in enumerate(self.states)})
        observed = pack("observed", tree_map(lambda column: column.kept, self.observed))
        behaviour = pack("behaviour", self.behaviour)
        return {
            **names,
            "valid": self.valid,
            "first": self.first,
            "written": np.array(self.written),
            **states,
            **observed,
            **behaviour,
        }

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Goes on from what `arrays` gave."""
        for name in ("actions", "rewards", "discounts", "valid", "first"):
            setattr(self, name, arrays[name])
        self.written = int(arrays["written"])
        self.states = list(unpack("state", arrays).values())
        self.behaviour = unpack("behaviour", arrays)
        for name, column in pack("observed", self.observed).items():
            column.kept = arrays[name]


class _Column(Protocol):
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
        from asyncrl.networks.torso import channels_last  # imports torch

        self.stack, self.axis = stack, 2 if channels_last(space) else 0  # of the channels, in one image
        shape = list(space.shape)
        shape[self.axis] //= stack
        self.kept = np.zeros((*leading, *shape), space.dtype)

    def put(self, places: Rows, values: Array) -> None:
        channels = self.kept.shape[2 + self.axis]
        newest = [slice(None)] * values.ndim
        newest[2 + self.axis] = slice(values.shape[2 + self.axis] - channels, None)
        self.kept[places] = values[tuple(newest)]

    def take(self, rows: Rows, environments: Rows, first: NDArray[np.bool_]) -> Array:
        room = len(self.kept)
        frames: list[Array] = []
        of_episode = np.ones(len(rows), np.bool_)
        for back in range(self.stack):
            place = (rows - back) % room
            frame = self.kept[place, environments]
            frame[~of_episode] = 0
            frames.insert(0, frame)
            of_episode &= ~first[place, environments]
        return _interleaved(frames) if frames[0].shape[-1] == 1 else np.concatenate(frames, 1 + self.axis)


def _interleaved(frames: list[Array]) -> Array:
    """Frames, each [N, H, W, 1], side by side: [N, H, W, len(frames)]."""
    if len(frames) == 4 and frames[0].dtype == np.uint8:  # four bytes are one word, which is six times as fast
        words = frames[3][..., 0].astype("<u4")
        for frame in (frames[2], frames[1], frames[0]):
            np.left_shift(words, 8, out=words)
            np.bitwise_or(words, frame[..., 0], out=words)
        return words.view(np.uint8).reshape(*words.shape, 4)
    return np.concatenate(frames, -1)


def bytes_per_step(environment: EnvironmentInfo) -> int:
    """Room that one step of one environment takes, in bytes, without its action and its recurrent state."""
    sizes: list[int] = []
    columns = _columns(environment.observation_space, environment.frame_stack, (1, 1))
    tree_map(lambda column: sizes.append(column.kept.nbytes), columns)
    return sum(sizes) + 4 + 4 + 1 + 1  # reward, discount, valid, first


def _columns(space: Space[Any], stack: int, leading: tuple[int, int]) -> Any:
    from asyncrl.networks.torso import is_image  # imports torch

    if isinstance(space, Dict):
        return {key: _columns(part, stack, leading) for key, part in space.spaces.items()}
    assert isinstance(space, Box)
    return _Stacks(space, stack, leading) if stack > 1 and is_image(space) else _Values(space, leading)
