"""The memory of actor-critics with replay: the newest rollout, then earlier ones (Wang et al. 2017, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncrl.errors import UserError
from asyncrl.memory.columns import Arrays, bytes_per_step
from asyncrl.memory.recent_steps import RecentSteps
from asyncrl.memory.share_on_disk import ShareOnDisk
from asyncrl.tree import pack, unpack
from asyncrl.types import Rollout

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from asyncrl.networks.assemble import Networks
    from asyncrl.types import Progress, WorkerInfo


@dataclass(frozen=True)
class TrajectoryRules:
    """What is replayed, and how often. Numbers of steps are of one worker."""

    capacity: int  # steps that are kept
    start: int  # steps that must be there before anything is replayed
    ratio: float  # mean number of replayed steps for each step taken
    policy_size: int  # numbers that a behaviour policy is kept as
    draws: int = 0  # actions that a loss draws at each step; noise is made for them

    def memory_bytes(self, worker: WorkerInfo) -> int:
        """Room that a full memory takes, without recurrent states."""
        of_actions = 8 + 4 * self.policy_size
        return self.capacity * (bytes_per_step(worker.environment) + of_actions) if self.ratio else 0


@dataclass(frozen=True, slots=True)
class Trajectories:
    """T steps of B trajectories, with the behaviour policies, and the random numbers of the loss."""

    rollout: Rollout
    noise: Tensor  # standard normal, behind the actions that the loss draws [K, T, B, ...]


class TrajectoryMemory:
    """One worker's share of the replayed trajectories.

    A trajectory is what one environment gave in one rollout. The newest rollout comes first. N rounds of as many
    trajectories follow, where N is drawn from the Poisson distribution whose mean is the replay ratio. The environment
    and the time of each are drawn at random, with replacement.

    Args:
        rules: What is replayed, and how often.
        rollout_length: Steps of each rollout [T].
        worker: The worker.

    Raises:
        UserError: The capacity is too small.
    """

    def __init__(self, rules: TrajectoryRules, rollout_length: int, worker: WorkerInfo) -> None:
        self.rules, self.length, self.worker = rules, rollout_length, worker
        self.environments = worker.environments
        rows = rules.capacity // worker.environments // rollout_length * rollout_length
        self.steps = RecentSteps(rows, worker.environments, rollout_length, worker.environment)
        least = (2 - -self.steps.overlap // rollout_length) * rollout_length
        self.newest: Rollout | None = None
        self.collected = 0  # steps so far
        if rules.ratio and rows < least:
            everywhere = worker.environments * worker.workers
            raise UserError(
                f"--replay-capacity {rules.capacity * worker.workers} is too small for {everywhere} environments: "
                f"give at least {least * everywhere}, or fewer environments"
            )

    def add(self, rollout: Rollout) -> None:
        """Copies a rollout over the oldest one.

        Raises:
            UserError: Rollouts end with their episodes.
        """
        self.newest = rollout
        self.collected += rollout.steps
        if self.rules.ratio:
            self.steps.append(rollout)

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterator[Trajectories]:
        """The newest rollout, then what is replayed."""
        import torch

        assert self.newest is not None
        yield self._with_noise(self.newest, random)
        self.newest = None
        blocks = range(-(-self.steps.oldest // self.length), (self.steps.written - 1) // self.length)
        if self.collected < self.rules.start or not blocks:
            return
        for _ in range(int(torch.poisson(torch.tensor(self.rules.ratio), random))):
            drawn = torch.randint(len(blocks) * self.environments, (self.environments,), generator=random).numpy()
            numbers, environments = np.divmod(drawn, self.environments)
            rows = (blocks.start + numbers) * self.length
            yield self._with_noise(self.steps.sequences(rows, environments, self.length), random)

    def _with_noise(self, rollout: Rollout, random: torch.Generator) -> Trajectories:
        import torch

        return Trajectories(rollout, torch.empty(self.rules.draws, *rollout.actions.shape).normal_(generator=random))

    def learned(self, experience: Trajectories, feedback: Any) -> None:
        """Needs nothing."""


class SavedTrajectoryMemory(TrajectoryMemory):
    """A memory of trajectories that is saved: as a whole beside a checkpoint, or as a copy on disk that follows it."""

    def save(self, file: Path) -> None:
        """Writes all of it; nothing before the first rollout."""
        if steps := self.steps.arrays():
            arrays: dict[str, Any] = {**self.index(), **pack("steps", steps)}
            with file.open("wb") as stream:
                np.savez(stream, **arrays)

    def load(self, file: Path) -> None:
        """Reads what `save` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            saved = {name: arrays[name] for name in arrays.files}
        self.restore_index(saved)
        self.steps.restore(unpack("steps", saved))

    def on_disk(self, folder: Path) -> ShareOnDisk:
        """What keeps a copy of it in a folder."""
        return ShareOnDisk(self, folder)

    def form(self) -> dict[str, Any]:
        """Nothing beside the form of the steps decides whether a copy can be used."""
        return {}

    def index(self) -> Arrays:
        """Everything but the steps: their number."""
        return {"collected": np.array(self.collected)}

    def restore_index(self, arrays: Arrays) -> None:
        """Takes back what `index` gave."""
        self.collected = int(arrays["collected"])

    def clear(self) -> None:
        """Forgets everything."""
        self.steps.written, self.collected = 0, 0
