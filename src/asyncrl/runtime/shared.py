"""Memory that all processes of a run see: anonymous, allocated before any worker starts, gone with the last process."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class SharedVector:
    """A flat float32 vector [P] in shared memory; sending it to a worker sends a handle, not the numbers."""

    def __init__(self, size: int, context: BaseContext) -> None:
        self._array: Any = context.RawArray(ctypes.c_float, size)

    @property
    def tensor(self) -> Tensor:
        """The vector itself [P], not a copy."""
        return torch.from_numpy(np.frombuffer(self._array, np.float32))


class Counter:
    """Steps and updates of all workers, one slot each, summed without a lock; and the flag that asks all to stop.

    A slot has one writer, so no count is ever lost.
    """

    def __init__(self, workers: int, context: BaseContext) -> None:
        self._array: Any = context.RawArray(ctypes.c_int64, 2 * (workers + 1) + 1)
        self._workers = workers

    @property
    def _slots(self) -> NDArray[np.int64]:
        return np.frombuffer(self._array, np.int64)[:-1].reshape(-1, 2)

    @property
    def steps(self) -> int:
        """T: agent decisions so far, over all workers and all sessions of the run."""
        return int(self._slots[:, 0].sum())

    @property
    def updates(self) -> int:
        """Optimiser applications so far, over all workers and all sessions of the run."""
        return int(self._slots[:, 1].sum())

    def advance(self, worker: int, *, steps: int = 0, updates: int = 0) -> None:
        """Adds to a worker's own slot; slot `workers` holds what earlier sessions did."""
        slot = self._slots[worker]
        slot[0] += steps
        slot[1] += updates

    def resume(self, steps: int, updates: int) -> None:
        """Starts from the counts of a checkpoint."""
        self.advance(self._workers, steps=steps, updates=updates)

    def stop(self) -> None:
        """Asks every worker to stop after its present rollout."""
        self._array[-1] = 1

    def reached(self, limit: int) -> bool:
        """Whether workers should stop: the limit of steps is reached, or `stop` was called."""
        return bool(self._array[-1]) or self.steps >= limit


@dataclass(frozen=True)
class SharedState:
    """Everything that workers share."""

    parameters: SharedVector  # θ [P]
    statistics: Mapping[str, SharedVector]  # the optimiser's, each [P]
    counter: Counter
