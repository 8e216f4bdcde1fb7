"""The replay of auxiliary tasks: the newest steps of each environment, from which every task draws its own samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from asyncrl.errors import UserError
from asyncrl.memory.columns import Rows, bytes_per_step
from asyncrl.memory.recent_steps import RecentSteps
from asyncrl.tree import tree_map
from asyncrl.types import Rollout

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from asyncrl.types import WorkerInfo


class Histories(NamedTuple):
    """The rewards of N steps, and the observations before each of them."""

    observations: Any  # [L, N, ...], or that for each key; the last one is that in which the step was taken
    rewards: Tensor  # [N], as learned from


class AuxiliaryReplay:
    """The newest steps of each of a worker's environments.

    What is drawn comes from all of the worker's environments alike, with replacement.

    Args:
        capacity: Steps that are kept of each environment.
        rollout_length: Steps of each rollout, and of a drawn sequence [T].
        worker: The worker.

    Raises:
        UserError: The capacity is too small.
    """

    def __init__(self, capacity: int, rollout_length: int, worker: WorkerInfo) -> None:
        self.environment, self.environments, self.length = worker.environment, worker.environments, rollout_length
        rows = capacity // rollout_length * rollout_length
        self.steps = RecentSteps(rows, worker.environments, rollout_length, worker.environment)
        least = (2 - -self.steps.overlap // rollout_length) * rollout_length
        if rows < least:
            raise UserError(
                f"--auxiliary-steps {capacity} is too small for rollouts of {rollout_length} steps: "
                f"give at least {least}"
            )

    @staticmethod
    def bytes(capacity: int, worker: WorkerInfo) -> int:
        """Room that a full replay takes, without recurrent states."""
        return capacity * worker.environments * (bytes_per_step(worker.environment) + 8)

    def append(self, rollout: Rollout) -> None:
        """Copies a rollout over the oldest one.

        Raises:
            UserError: Rollouts end with their episodes.
        """
        self.steps.append(rollout)

    def sequences(self, random: torch.Generator) -> Rollout | None:
        """Sequences of T steps as they were acted, all alike in probability.

        Those of a recurrent network begin where rollouts began, because the recurrent state was kept there.

        Args:
            random: Generator of all random choices.

        Returns:
            T steps of as many sequences as there are environments, or None as long as there is no whole one.
        """
        import torch

        every = self.length if self.steps.states else 1
        begins = range(-(-self.steps.oldest // every), (self.steps.written - 1 - self.length) // every + 1)
        if not begins:
            return None
        drawn = torch.randint(len(begins) * self.environments, (self.environments,), generator=random).numpy()
        numbers, environments = np.divmod(drawn, self.environments)
        return self.steps.sequences((begins.start + numbers) * every, environments, self.length)

    def histories(
        self, random: torch.Generator, length: int, rewarded: float, count: int | None = None
    ) -> Histories | None:
        """Single steps with the observations that led to them, all of one episode.

        Args:
            random: Generator of all random choices.
            length: Observations before each reward [L].
            rewarded: Probability that a step with a reward other than 0 is drawn, as far as there are steps of both
                kinds.
            count: Number of steps [N]; by default as many as there are environments.

        Returns:
            N steps, or None as long as there is none with so long a history.
        """
        import torch

        rows, environments = self._with_history(length)
        if not len(rows):
            return None
        count = count or self.environments
        has_reward = self.steps.rewards[rows % self.steps.rows, environments] != 0
        kinds = [np.flatnonzero(~has_reward), np.flatnonzero(has_reward)]
        wanted = (torch.rand(count, generator=random) < rewarded).numpy()
        shares = torch.rand(count, generator=random).numpy()
        chosen = np.empty(count, np.int64)
        for kind, items in enumerate(kinds):
            from_here = wanted == bool(kind) if len(kinds[1 - kind]) else np.ones(count, np.bool_)
            if len(items):
                chosen[from_here] = items[(shares[from_here] * len(items)).astype(np.int64)]
        rows, environments = rows[chosen], environments[chosen]
        before = (rows - np.arange(length - 1, -1, -1)[:, None]).reshape(-1)
        seen = self.steps.observations(before, np.tile(environments, length))
        return Histories(
            tree_map(lambda values: torch.from_numpy(values.reshape(length, count, *values.shape[1:])), seen),
            torch.from_numpy(self.steps.rewards[rows % self.steps.rows, environments]),
        )

    def _with_history(self, length: int) -> tuple[Rows, Rows]:
        """Rows and environments of all steps that have `length` observations of their episode up to them."""
        steps = self.steps
        begin = steps.oldest + length - 1
        places = np.arange(begin, steps.written) % steps.rows
        enough = steps.valid[places]
        for back in range(length - 1):
            enough = enough & ~steps.first[places - back]
        rows, environments = np.nonzero(enough)
        return rows + begin, environments
