"""The latest rollout in random minibatches, for algorithms that learn from it several times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncrl.memory.latest import LatestRollout
from asyncrl.tree import tree_map
from asyncrl.types import Rollout, State

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from asyncrl.networks.assemble import Networks
    from asyncrl.types import Progress

Constants = Mapping[str, "Tensor"]
"""What an algorithm computes once for all steps of a rollout, by name, each [T, B], such as targets."""


@dataclass(frozen=True, slots=True)
class Minibatch:
    """Part of a rollout, with what was computed for its steps.

    For feed-forward networks it is N single steps, and T is 1. For recurrent networks it is the whole rollout of N
    environments.
    """

    observations: Any  # [T, N, ...], or that for each key
    actions: Tensor  # [T, N, ...]
    valid: Tensor  # [T, N] bool, false on dummy steps
    first: Tensor  # [T, N] bool
    state: State  # recurrent state before the observations, each [N, H]
    constants: Constants  # each [T, N]

    def in_one_row(self) -> Minibatch:
        """The same T · N steps as N single ones, without a recurrent state."""
        return self._changed(lambda rows: rows.reshape(1, -1, *rows.shape[2:]), ())

    def columns(self, places: Tensor) -> Minibatch:
        """Some of the N columns."""
        return self._changed(lambda rows: rows.index_select(1, places), tuple(part[places] for part in self.state))

    def _changed(self, change: Callable[[Tensor], Tensor], state: State) -> Minibatch:
        return Minibatch(
            observations=tree_map(change, self.observations),
            actions=change(self.actions),
            valid=change(self.valid),
            first=change(self.first),
            state=state,
            constants={name: change(rows) for name, rows in self.constants.items()},
        )


class ShuffledRollout(LatestRollout):
    """The latest rollout in random minibatches, several times over.

    Args:
        epochs: How many times.
        minibatches: Into how many parts; there are fewer if there are fewer steps, or environments if it is recurrent.
        compute: Computes the constants of a rollout, without gradients, with the parameters θ' that acted.
    """

    def __init__(self, epochs: int, minibatches: int, compute: Callable[[Rollout, Networks], Constants]) -> None:
        self.epochs, self.minibatches, self.compute = epochs, minibatches, compute

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterator[Minibatch]:
        """The minibatches of all epochs."""
        import torch

        rollout = self.rollout
        assert rollout is not None
        with torch.no_grad():
            constants = self.compute(rollout, networks)
        observations = tree_map(lambda rows: rows[:-1], rollout.observations)
        part = Minibatch(observations, rollout.actions, rollout.valid, rollout.first[:-1], rollout.state, constants)
        if not part.state:
            part = part.in_one_row()
        places = part.valid.any(0).nonzero().squeeze(-1)  # of columns with anything to learn from
        for _ in range(self.epochs if len(places) else 0):
            shuffled = places[torch.randperm(len(places), generator=random)]
            for chosen in shuffled.tensor_split(min(self.minibatches, len(places))):
                yield part.columns(chosen)
