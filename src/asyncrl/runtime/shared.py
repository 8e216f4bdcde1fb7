"""Memory that all processes of a run see: anonymous, allocated before any worker starts, gone with the last process."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from multiprocessing.context import BaseContext
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asyncrl.functional.moments import Moments, moments_of

ALIGNMENT = 64
"""Bytes: vectors begin where torch would put them, because what an operation rounds may depend on it."""


class SharedVector:
    """A flat float32 vector [P] in shared memory; sending it to a worker sends a handle, not the numbers."""

    def __init__(self, size: int, context: BaseContext) -> None:
        self._array: Any = context.RawArray(ctypes.c_float, size + ALIGNMENT // 4)
        self._size, self._skipped = size, -ctypes.addressof(self._array) % ALIGNMENT  # in each process the same

    @property
    def tensor(self) -> Tensor:
        """The vector itself [P], not a copy."""
        return torch.from_numpy(np.frombuffer(self._array, np.float32, self._size, self._skipped))


class Counts(NamedTuple):
    """What all workers did, over all sessions of the run."""

    steps: int  # agent decisions: the paper's T
    updates: int  # applications of the optimiser
    episodes: int  # that came to their end


class Counter:
    """What each worker did, summed without a lock; its pulse; and the flag that asks all to stop.

    A slot has one writer, so no count is ever lost, not even one of a worker that is killed.
    """

    def __init__(self, workers: int, context: BaseContext) -> None:
        self._array: Any = context.RawArray(ctypes.c_int64, 4 * (workers + 1) + 2)
        self._workers = workers

    @property
    def _slots(self) -> NDArray[np.int64]:
        """Steps, updates, episodes and pulse of each worker [W+1, 4]; the last row is of earlier sessions."""
        return np.frombuffer(self._array, np.int64)[:-2].reshape(-1, 4)

    @property
    def counts(self) -> Counts:
        """Over all workers and all sessions of the run."""
        return Counts(*(int(total) for total in self._slots[:, :3].sum(0)))

    @property
    def rows(self) -> NDArray[np.int64]:
        """Steps, updates and episodes [W+1, 3] of each worker and of earlier sessions, a copy."""
        return self._slots[:, :3].copy()

    def set_rows(self, numbers: Sequence[int], rows: NDArray[np.int64]) -> None:
        """Takes over some of the rows [W+1, 3] that another machine has counted.

        Args:
            numbers: Which rows: workers that do not run on this machine, or the row after the workers'.
            rows: All rows, as `rows` gives them.
        """
        chosen = list(numbers)
        self._slots[chosen, :3] = rows[chosen]

    def slot(self, worker: int) -> Counts:
        """What one worker did in this session."""
        return Counts(*(int(count) for count in self._slots[worker, :3]))

    @property
    def steps(self) -> int:
        """T: agent decisions so far, over all workers and all sessions of the run."""
        return int(self._slots[:, 0].sum())

    @property
    def updates(self) -> int:
        """Optimiser applications so far, over all workers and all sessions of the run."""
        return int(self._slots[:, 1].sum())

    def advance(self, worker: int, *, steps: int = 0, updates: int = 0, episodes: int = 0) -> None:
        """Adds to a worker's own slot."""
        self._slots[worker, :3] += (steps, updates, episodes)

    def resume(self, counts: Counts) -> None:
        """Starts from the counts of a checkpoint."""
        self._slots[self._workers, :3] = counts

    def pulse(self, worker: int) -> NDArray[np.int64]:
        """A number [1] that a worker counts up while it works; when it stands still, the worker hangs."""
        return self._slots[worker, 3:]

    @property
    def refreshed_at(self) -> int:
        """The global step at which the target network was refreshed last."""
        return int(self._array[-2])

    @refreshed_at.setter
    def refreshed_at(self, steps: int) -> None:
        self._array[-2] = steps

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

    @property
    def slots(self) -> Tensor:
        """All slots [W+1, 2D+1], a copy: count, mean and squares of each."""
        return self._slots.clone()

    def set_slots(self, numbers: Sequence[int], slots: Tensor) -> None:
        """Takes over some of the slots [W+1, 2D+1] that another machine has filled; see `Counter.set_rows`."""
        chosen = list(numbers)
        self._slots[chosen] = slots[chosen]

    def resume(self, slots: Tensor) -> None:
        """Starts from the slots [V+1, 2D+1] of a checkpoint; those of another number of workers are put together."""
        if slots.shape == self._slots.shape:
            self._slots.copy_(slots)
        else:
            self.store(self._shape[0] - 1, combine(slots))

    @property
    def combined(self) -> Moments:
        """Over all workers and all sessions of the run."""
        return combine(self._slots)

    def _load(self, slot: int) -> Moments:
        return _moments(self._slots[slot])


class SharedVisits:
    """How often each of C cells was visited by all workers, counted without a lock.

    If two workers count the same cell in the same instant, one of the two visits may be lost.
    """

    def __init__(self, cells: int, context: BaseContext) -> None:
        self._array: Any = context.RawArray(ctypes.c_int32, cells)

    @property
    def counts(self) -> Tensor:
        """The number of visits of each cell [C], int32, not a copy."""
        return torch.from_numpy(np.frombuffer(self._array, np.int32))

    @property
    def visited(self) -> int:
        """Number of cells that were visited at least once."""
        return int(self.counts.count_nonzero())

    def add(self, cells: Tensor) -> Tensor:
        """Adds a visit for each of the cells [N], and returns the number of visits of each [N], with these."""
        counts, indices = self.counts.numpy(), cells.numpy()
        np.add.at(counts, indices, 1)
        return torch.from_numpy(counts[indices])


def combine(slots: Tensor) -> Moments:
    """The moments of all slots [W+1, 2D+1] together."""
    total = _moments(slots[0])
    for row in slots[1:]:
        total = total + _moments(row)
    return total


def _moments(row: Tensor) -> Moments:
    size = (len(row) - 1) // 2
    return Moments(row[0], row[1 : size + 1], row[size + 1 :])
