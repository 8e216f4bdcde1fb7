"""The latest steps of a worker's environments, in a ring of rows that keeps each frame of an image once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncrl.errors import UserError
from asyncrl.memory.columns import Array, Rows, make_columns
from asyncrl.tree import pack, tree_map, unpack
from asyncrl.types import Rollout

if TYPE_CHECKING:
    from asyncrl.types import EnvironmentInfo


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
        self.observed = make_columns(environment.observation_space, environment.frame_stack, leading)
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
        """Copies a rollout's steps into the next rows, over the oldest ones.

        Raises:
            UserError: Rollouts end with their episodes. The row after a last step would then be another episode's.
        """
        steps = len(rollout.actions)
        if steps != self.rollout_length:
            raise UserError("steps cannot be replayed with --episode-rollouts: leave it out")
        if self.actions is None:
            self._make_room(
                rollout.actions.numpy(),
                [part[None].numpy() for part in rollout.state],
                {name: outputs.numpy() for name, outputs in rollout.behaviour.items()},
            )
        assert self.actions is not None
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

    def end_episodes(self) -> None:
        """Ends all episodes as a time limit does, because the next rollout begins new ones.

        The newest row becomes the dummy step that follows such an end: only its observation counts.
        """
        self.valid[(self.written - 1) % self.rows] = False

    def arrays(self) -> dict[str, Array]:
        """Everything it keeps, for `restore`."""
        return {} if self.actions is None else {**self._kept(), "written": np.array(self.written)}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Goes on from what `arrays` gave."""
        for name in ("actions", "rewards", "discounts", "valid", "first"):
            setattr(self, name, arrays[name])
        self.written = int(arrays["written"])
        self.states = list(unpack("state", arrays).values())
        self.behaviour = unpack("behaviour", arrays)
        for name, column in pack("observed", self.observed).items():
            column.kept = arrays[name]

    def copied(self, begin: int, end: int) -> dict[str, Array]:
        """Copies of what it keeps of the rows from `begin` to `end`, for `put_back`."""
        return {name: kept[self._places(name, begin, end)] for name, kept in self._kept().items()}

    def put_back(self, begin: int, end: int, arrays: Mapping[str, Array]) -> None:
        """Takes in what `copied` gave of the same rows of a ring of the same form.

        Raises:
            KeyError: An array is missing.
            ValueError: An array has another form.
        """
        if self.actions is None:
            states, behaviour = unpack("state", arrays), unpack("behaviour", arrays)
            self._make_room(arrays["actions"], list(states.values()), behaviour)
        for name, kept in self._kept().items():
            places, values = self._places(name, begin, end), arrays[name]
            if values.shape != (len(places), *kept.shape[1:]) or values.dtype != kept.dtype:
                raise ValueError(f"its {name} have another form")
            kept[places] = values

    def _make_room(self, actions: Array, states: Sequence[Array], behaviour: Mapping[str, Array]) -> None:
        """Makes room for what has the form of actions, recurrent states and outputs of heads, each [..., B, ...]."""
        rollouts = self.rows // self.rollout_length
        self.actions = np.zeros((self.rows, *actions.shape[1:]), actions.dtype)
        self.states = [np.zeros((rollouts, *part.shape[1:]), np.float32) for part in states]
        self.behaviour = {
            name: np.zeros((self.rows, *outputs.shape[1:]), np.float32) for name, outputs in behaviour.items()
        }

    def _kept(self) -> dict[str, Array]:
        """All arrays by name: [R, B, ...], and the recurrent states [R / T, B, H]."""
        assert self.actions is not None
        return {
            "actions": self.actions,
            "rewards": self.rewards,
            "discounts": self.discounts,
            "valid": self.valid,
            "first": self.first,
            **pack("state", {str(number): kept for number, kept in enumerate(self.states)}),
            **pack("observed", tree_map(lambda column: column.kept, self.observed)),
            **pack("behaviour", self.behaviour),
        }

    def _places(self, name: str, begin: int, end: int) -> Rows:
        """Where an array has what belongs to the rows from `begin` to `end`."""
        if not name.startswith("state/"):
            return np.arange(begin, end) % self.rows
        length = self.rollout_length  # of the rollouts, each of which has a state
        return np.arange(-(-begin // length), -(-end // length)) % (self.rows // length)
