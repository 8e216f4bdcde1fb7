"""Copies of what a node shares among its workers, as they cross from one machine to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asyncrl.runtime.store import SharedState


def statistics_of_node(shared: SharedState, workers: Iterable[int]) -> list[str]:
    """Names of the optimiser's statistics that a node has; none if the parameter server has them.

    Args:
        shared: What the workers of the run or of the node share.
        workers: Numbers of the node's workers.
    """
    if shared.gradients is not None:
        return []
    own = {str(number) for number in workers}
    return [name for name in shared.statistics if "/" not in name or name.rpartition("/")[2] in own]


@dataclass(frozen=True)
class Rows:
    """A copy of what workers add up: one row for each worker of the run, and one for earlier sessions."""

    counts: NDArray[np.int64]  # steps, updates and episodes [W+1, 3]
    moments: Tensor | None = None  # of observations [W+1, 2D+1]
    return_moments: Tensor | None = None  # of discounted returns [W+1, 3]

    @classmethod
    def of(cls, shared: SharedState) -> Rows:
        """The present ones."""
        moments, returns = shared.moments, shared.return_moments
        return cls(
            shared.counter.rows,
            None if moments is None else moments.slots,
            None if returns is None else returns.slots,
        )

    def give(self, shared: SharedState, numbers: list[int]) -> None:
        """Writes some of the rows into shared memory."""
        shared.counter.set_rows(numbers, self.counts)
        if shared.moments is not None and self.moments is not None:
            shared.moments.set_slots(numbers, self.moments)
        if shared.return_moments is not None and self.return_moments is not None:
            shared.return_moments.set_slots(numbers, self.return_moments)


@dataclass(frozen=True)
class Vectors:
    """A copy of vectors that workers share, each [P]."""

    statistics: Mapping[str, NDArray[np.float32]]  # the optimiser's
    target: NDArray[np.float32] | None  # θ⁻
    refreshed_at: int  # the global step at which θ⁻ was refreshed last
    parameters: NDArray[np.float32] | None = None  # θ

    @classmethod
    def of(cls, shared: SharedState, names: Iterable[str], with_target: bool, with_parameters: bool) -> Vectors:
        """The present ones. The step is read before θ⁻, so that θ⁻ is never older than the step says.

        Args:
            shared: What workers share.
            names: Which of the optimiser's statistics.
            with_target: Whether to copy θ⁻.
            with_parameters: Whether to copy θ.
        """
        refreshed_at = shared.counter.refreshed_at
        return cls(
            {name: shared.statistics[name].tensor.numpy().copy() for name in names},
            shared.target.tensor.numpy().copy() if with_target and shared.target is not None else None,
            refreshed_at,
            shared.parameters.tensor.numpy().copy() if with_parameters else None,
        )

    def give(self, shared: SharedState) -> None:
        """Writes them into shared memory."""
        if self.parameters is not None:
            np.copyto(shared.parameters.tensor.numpy(), self.parameters)
        if shared.target is not None and self.target is not None:
            np.copyto(shared.target.tensor.numpy(), self.target)
            shared.counter.refreshed_at = self.refreshed_at
        for name, vector in self.statistics.items():
            np.copyto(shared.statistics[name].tensor.numpy(), vector)
