"""Uniform replay Q-learning (Mnih et al. 2013) on the engine's seams, written as a user would write it: one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from asyncrl.algorithms.value_based import ValueBased
from asyncrl.networks.assemble import Networks
from asyncrl.types import Loss, Progress, Rollout, WorkerInfo


@dataclass(frozen=True)
class Minibatch:
    """N transitions."""

    rows: Tensor  # where they lie in the memory [N]
    observations: Tensor  # [N, ...]
    actions: Tensor  # [N]
    rewards: Tensor  # [N]
    discounts: Tensor  # [N]
    next_observations: Tensor  # [N, ...]


class UniformReplay:
    """A worker's share of the latest transitions, each as likely to be drawn as any other."""

    def __init__(self, capacity: int, start: int, batch_size: int, updates: int) -> None:
        self.capacity, self.start, self.batch_size, self.updates = capacity, start, batch_size, updates
        self.columns: list[Tensor] = []  # each [capacity, ...], as in `Minibatch` from `observations` on
        self.added = 0  # transitions so far
        self.errors = torch.zeros(capacity)  # latest |TD error| of each transition

    def add(self, rollout: Rollout) -> None:
        """Copies the transitions of a rollout."""
        valid, observed = rollout.valid, rollout.observations
        new = [observed[:-1], rollout.actions, rollout.rewards, rollout.discounts, observed[1:]]
        new = [column[valid] for column in new]
        if not self.columns:
            self.columns = [torch.zeros(self.capacity, *column.shape[1:], dtype=column.dtype) for column in new]
        rows = torch.arange(self.added, self.added + len(new[0])) % self.capacity
        for column, values in zip(self.columns, new, strict=True):
            column[rows] = values
        self.added += len(rows)

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterator[Minibatch]:
        """Some minibatches, once there is enough to draw from."""
        for _ in range(self.updates if self.added >= self.start else 0):
            rows = torch.randint(min(self.added, self.capacity), (self.batch_size,), generator=random)
            yield Minibatch(rows, *(column[rows] for column in self.columns))

    def learned(self, experience: Minibatch, feedback: Tensor) -> None:
        """Takes in the errors, as a prioritized memory would."""
        self.errors[experience.rows] = feedback

    def save(self, file: Path) -> None:
        """Writes all of it."""
        columns = {str(number): column for number, column in enumerate(self.columns)}
        save_file({**columns, "added": torch.tensor(self.added), "errors": self.errors}, file)

    def load(self, file: Path) -> None:
        """Reads what `save` wrote."""
        saved = load_file(file)
        self.added, self.errors = int(saved.pop("added")), saved.pop("errors")
        self.columns = [saved[str(number)] for number in range(len(saved))]


@dataclass(frozen=True)
class ReplayQ(ValueBased):
    """y = r + discount max_a Q(s', a; θ⁻) for transitions drawn from a replay memory."""

    replay_capacity: int = 20_000
    replay_start: int = 500
    batch_size: int = 32
    updates: int = 4
    """Minibatches after each rollout."""

    def make_memory(self, worker: WorkerInfo) -> Any:
        """The worker's share of the capacity."""
        return UniformReplay(self.replay_capacity // worker.workers, self.replay_start, self.batch_size, self.updates)

    def targets(self, rollout: Rollout, online_values: Tensor, target_values: Tensor) -> Tensor:
        """Learns from minibatches only."""
        raise NotImplementedError

    def loss(self, networks: Networks, experience: Any) -> Loss:
        """Half the mean squared error of a minibatch."""
        batch: Minibatch = experience
        begins = torch.ones(1, len(batch.rows), dtype=torch.bool)
        assert networks.target is not None
        values = networks.online(batch.observations[None], (), begins)[0]["q"][0]  # [N, A]
        with torch.no_grad():
            following = networks.target(batch.next_observations[None], (), begins)[0]["q"][0].amax(-1)  # [N]
        targets = batch.rewards + batch.discounts * following
        errors = targets - values.gather(-1, batch.actions[:, None])[:, 0]
        loss = errors.square().mean() / 2
        return Loss(loss, {"value_loss": 2 * loss.detach()}, feedback=errors.detach().abs())
