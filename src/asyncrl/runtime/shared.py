"""Memory that all processes of a run see: anonymous, allocated before any worker starts, gone with the last process."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asyncrl.functional.moments import Moments, moments_of


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

    @property
    def steps_before(self) -> int:
        """Steps of earlier sessions."""
        return int(self._slots[self._workers, 0])

    def stop(self) -> None:
        """Asks every worker to stop after its present rollout."""
        self._array[-1] = 1

    def reached(self, limit: int) -> bool:
        """Whether workers should stop: the limit of steps is reached, or `stop` was called."""
        return bool(self._array[-1]) or self.steps >= limit


class SharedMoments:
    """Mean and variance of D observed components over all workers, one slot each, put together without a lock.

    A slot has one writer; the slot after the workers' holds what earlier sessions saw.
    """

    def __init__(self, workers: int, size: int, context: BaseContext) -> None:
        self._array: Any = context.RawArray(ctypes.c_double, (workers + 1) * (2 * size + 1))
        self._shape = (workers + 1, 2 * size + 1)

    @property
    def _slots(self) -> Tensor:
        return torch.from_numpy(np.frombuffer(self._array, np.float64).reshape(self._shape))

    def observe(self, worker: int, vectors: Tensor) -> None:
        """Adds vectors [N, D] to a worker's own slot."""
        self.store(worker, self._load(worker) + moments_of(vectors))

    def store(self, slot: int, moments: Moments) -> None:
        """Puts moments in the place of a slot's."""
        self._slots[slot] = torch.cat([moments.count.reshape(1), moments.mean, moments.squares])

    def resume(self, moments: Moments) -> None:
        """Starts from the moments of a checkpoint."""
        self.store(self._shape[0] - 1, moments)

    @property
    def combined(self) -> Moments:
        """Over all workers and all sessions of the run."""
        total = self._load(0)
        for slot in range(1, self._shape[0]):
            total = total + self._load(slot)
        return total

    def _load(self, slot: int) -> Moments:
        row = self._slots[slot]
        size = (self._shape[1] - 1) // 2
        return Moments(row[0], row[1 : size + 1], row[size + 1 :])


@dataclass(frozen=True)
class SharedState:
    """Everything that workers share."""

    parameters: SharedVector  # θ [P]
    target: SharedVector | None  # θ⁻ [P], for algorithms that have one
    statistics: Mapping[str, SharedVector]  # the optimiser's, each [P]
    moments: SharedMoments | None  # of observations, where they are normalised
    counter: Counter
    lock: AbstractContextManager[Any]  # around every worker's use of θ, or nothing: by default there is no lock
