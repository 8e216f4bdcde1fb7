"""A shard of the parameter server: some of the parameters, and what nodes push to them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from asyncrl.optim.hogwild import HogwildOptimizer, make_optimizer, optimizer_class
from asyncrl.settings import OptimizerSettings

Vector = NDArray[np.float32]

BLOCK = 64
"""Numbers that lie in the same shard."""


@dataclass(frozen=True)
class Push:
    """What a node sends to a shard."""

    values: Vector | None  # changes or gradients [P/S]; None only asks for the parameters
    learning_rate: float  # for gradients
    seen: int  # version of the shard's parameters that the node has
    own: int  # pushes of this node that the server had not answered when this one was made


@dataclass(frozen=True)
class Answer:
    """What a shard answers."""

    parameters: Vector  # θ [P/S] after the push
    version: int  # number of pushes that the shard has applied
    staleness: int  # of the push: how many pushes of other nodes its θ had not seen
    rejected: bool  # whether the push was too stale to be applied


@dataclass(frozen=True)
class ShardState:
    """Everything that a shard holds."""

    parameters: Vector  # θ [P/S]
    statistics: Mapping[str, Vector] = field(default_factory=dict)  # the optimiser's, each [P/S]
    version: int = 0


class Shard:
    """Some of the parameters of a run, for as long as no machine fails.

    A shard begins empty, also when it was started again after a failure. It answers nothing until `restore` is called.

    Args:
        optimizer: Applies pushed gradients; None if nodes push changes, which are added.
        max_staleness: Pushes that are more stale are rejected; None takes every push.
        change_weight: Factor of pushed changes.
    """

    def __init__(
        self,
        optimizer: OptimizerSettings | None = None,
        max_staleness: int | None = None,
        change_weight: float = 1.0,
    ) -> None:
        self.settings, self.max_staleness, self.change_weight = optimizer, max_staleness, change_weight
        self.parameters: Vector | None = None
        self.statistics: dict[str, Vector] = {}
        self.optimizer: HogwildOptimizer | None = None
        self.version = 0

    def restore(self, state: ShardState) -> None:
        """Begins with a state.

        Raises:
            UserError: There is no such optimiser.
        """
        parameters = state.parameters.copy()
        if self.settings is not None:
            names = optimizer_class(self.settings.optimizer).statistics
            self.statistics = {
                name: state.statistics[name].copy() if name in state.statistics else np.zeros_like(parameters)
                for name in names
            }
            tensors = {name: torch.from_numpy(vector) for name, vector in self.statistics.items()}
            private = {f"{name}/0": tensor for name, tensor in tensors.items()}  # the server is its only worker
            self.optimizer = make_optimizer(
                self.settings, torch.from_numpy(parameters), tensors | private, 0, updates=lambda: self.version
            )
        self.parameters, self.version = parameters, state.version

    def trade(self, push: Push) -> Answer | None:
        """Applies a push and answers with the parameters; None if the shard is empty.

        A push must reach a shard once or not at all: applying it twice would be wrong.
        """
        if self.parameters is None:
            return None
        staleness = max(self.version - push.seen - push.own, 0)
        rejected = push.values is not None and self.max_staleness is not None and staleness > self.max_staleness
        if push.values is not None and not rejected:
            if self.settings is None:
                self.parameters += np.float32(self.change_weight) * push.values
            else:
                assert self.optimizer is not None
                self.optimizer.apply(torch.from_numpy(push.values.copy()), push.learning_rate)
            self.version += 1
        return Answer(self.parameters.copy(), self.version, staleness, rejected)

    def state(self) -> ShardState | None:
        """A copy of everything that the shard holds; None if it is empty."""
        if self.parameters is None:
            return None
        statistics = {name: vector.copy() for name, vector in self.statistics.items()}
        return ShardState(self.parameters.copy(), statistics, self.version)


def bounds(size: int, shards: int) -> list[slice]:
    """The part of a vector [P] that each of at most S shards holds, of nearly equal size.

    Parts begin at whole blocks of numbers, so that optimisers round in them as they do in the whole vector.
    """
    blocks = -(-size // BLOCK)
    shards = min(shards, blocks)
    edges = [min(blocks * number // shards * BLOCK, size) for number in range(shards + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(edges)]
