"""Experience replay (Lin 1992; Mnih et al. 2013): a worker learns from random steps of its recent past."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asyncrl.errors import UserError
from asyncrl.memory.columns import bytes_per_step
from asyncrl.memory.recent_steps import RecentSteps
from asyncrl.memory.selection import Places, Prioritized, Selection, Uniform
from asyncrl.tree import tree_map
from asyncrl.types import Rollout

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from asyncrl.networks.assemble import Network, Networks
    from asyncrl.types import Progress, WorkerInfo


@dataclass(frozen=True)
class ReplayRules:
    """What is replayed, and how often. Capacities are of one worker."""

    capacity: int  # steps that are kept
    start: int  # steps that must be there before learning begins
    ratio: float  # steps learned for each step taken
    batch_size: int  # items learned at once [N]
    multi_step: int  # steps of reward in a target [n]
    sequence_length: int  # steps of an item that recurrent networks learn from
    burn_in: int  # steps before those, from which only the recurrent state is computed
    by_rank: bool | None = None  # of prioritized replay; None: uniform replay
    priority_exponent: float = 0.0  # α
    importance_exponent: float = 1.0  # β at the start

    def span(self, recurrent: bool) -> int:
        """Rows that an item needs: a transition, or a sequence for a recurrent network."""
        return self.burn_in + self.sequence_length if recurrent else self.multi_step

    def check(self, worker: WorkerInfo, rollout_length: int, recurrent: bool) -> None:
        """Makes sure that the capacity holds enough items, whole ones and as many as a minibatch.

        Raises:
            UserError: It does not.
        """
        rows, apart = self.capacity // worker.environments, rollout_length if recurrent else 1
        whole = self.span(recurrent) + worker.environment.frame_stack - 1 + 2 * rollout_length
        least = max(whole, -(-self.batch_size // worker.environments) * apart)
        least = -(-least // rollout_length) * rollout_length
        if rows < least:
            everywhere = worker.environments * worker.workers
            raise UserError(
                f"--replay-capacity is too small for {everywhere} environments and a --batch-size of "
                f"{self.batch_size}: give at least {least * everywhere}, or fewer environments"
            )

    def memory_bytes(self, worker: WorkerInfo) -> int:
        """Room that a full memory takes, without recurrent states."""
        priorities = 0 if self.by_rank is None else 2 * 16 + 2 * 4  # sums, errors and their order
        return self.capacity * (bytes_per_step(worker.environment) + 8 + priorities)


@dataclass(frozen=True, slots=True)
class Replayed:
    """N items of a replay memory.

    Feed-forward networks learn from single transitions: T is 1, the reward is the discounted sum of up to n rewards,
    the discount is the product of theirs, and the second observation is the one after them. Recurrent networks learn
    from sequences, which begin with the recurrent state that was stored while acting, and with `burn_in` steps that
    bring it up to date (Kapturowski et al. 2019).
    """

    rollout: Rollout  # T steps of N items, the burn-in included
    weights: Tensor  # of their losses [N]
    places: Places  # of the items in the memory [N]
    burn_in: int = 0
    unevenness: float | None = None  # of prioritized replay: N · P of the items, as a mean

    def learned_by(self, network: Network) -> Rollout:
        """The steps after the burn-in, with the recurrent state that the network has there."""
        import torch

        rollout, steps = self.rollout, self.burn_in
        if steps == 0:
            return rollout
        with torch.no_grad():
            observed = tree_map(lambda rows: rows[:steps], rollout.observations)
            _, state = network(observed, rollout.state, rollout.first[:steps])
        return dataclasses.replace(
            rollout,
            observations=tree_map(lambda rows: rows[steps:], rollout.observations),
            actions=rollout.actions[steps:],
            rewards=rollout.rewards[steps:],
            discounts=rollout.discounts[steps:],
            valid=rollout.valid[steps:],
            first=rollout.first[steps:],
            state=state,
        )


class ReplayMemory:
    """One worker's share of the replay memory.

    An item is a step that was really taken, or, for recurrent networks, a sequence that begins where a rollout began.
    Items can be drawn as soon as all that they need was collected, and until the first of it is overwritten.

    Args:
        rules: What is replayed, and how often.
        rollout_length: Steps of each rollout [T].
        worker: The worker.
    """

    def __init__(self, rules: ReplayRules, rollout_length: int, worker: WorkerInfo) -> None:
        self.rules, self.rollout_length, self.worker = rules, rollout_length, worker
        rows = rules.capacity // worker.environments // rollout_length * rollout_length
        self.steps = RecentSteps(rows, worker.environments, rollout_length, worker.environment)
        self.recurrent: bool | None = None  # the first rollout tells
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self.steps.written, self.recurrent = 0, None
        self.interval, self.span = 1, self.rules.multi_step  # rows from one item to the next; rows that an item needs
        self.selection: Selection = Uniform(0)
        self.inserted, self.removed = 0, 0  # items of each environment so far
        self.collected, self.owed = 0, 0.0  # steps so far; steps that are to be learned

    def take_form(self, recurrent: bool) -> None:
        """Makes room for transitions, or for the sequences of a recurrent network.

        Raises:
            UserError: The capacity is too small.
        """
        rules = self.rules
        rules.check(self.worker, self.rollout_length, recurrent)
        self.recurrent, self.span = recurrent, rules.span(recurrent)
        self.interval = self.rollout_length if recurrent else 1
        room = self.steps.rows // self.interval * self.worker.environments
        if rules.by_rank is None:
            self.selection = Uniform(room)
        else:
            self.selection = Prioritized(room, rules.by_rank, rules.priority_exponent, rules.importance_exponent)

    def add(self, rollout: Rollout) -> None:
        """Copies a rollout, removes the items that it overwrites, and takes in those that it completes.

        Raises:
            UserError: The capacity is too small, or rollouts end with their episodes.
        """
        if self.recurrent is None:
            self.take_form(bool(rollout.state))
        self.steps.append(rollout)
        self.collected += rollout.steps
        self.owed += rollout.steps * self.rules.ratio

        lost = -(-self.steps.oldest // self.interval)
        self.selection.remove(self._places(self.removed, lost))
        self.removed = max(self.removed, lost)
        complete = (self.steps.written - 1 - self.span) // self.interval + 1
        places = self._places(self.inserted, complete)
        if not self.recurrent:
            places = places[self.steps.valid.reshape(-1)[places]]  # dummy steps are no items
        self.selection.insert(places)
        self.inserted = max(self.inserted, complete)
        if not self.is_warm:
            self.owed = 0.0

    def _places(self, begin: int, end: int) -> Places:
        """Places of all environments' items with numbers from `begin` to `end`."""
        environments = self.worker.environments
        numbers = np.arange(begin, max(begin, end)) % (self.steps.rows // self.interval)
        return (numbers[:, None] * environments + np.arange(environments)).reshape(-1)

    @property
    def minibatch_steps(self) -> int:
        """Steps that are learned at once."""
        return self.rules.batch_size * (self.rules.sequence_length if self.recurrent else 1)

    @property
    def is_warm(self) -> bool:
        """Whether learning may begin: there are `start` steps, and one minibatch."""
        return self.collected >= max(self.rules.start, self.minibatch_steps) and self.selection.items > 0

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterator[Replayed]:
        """As many minibatches as the replay ratio asks for; none before it is warm."""
        while (item := self.draw_one(random, progress)) is not None:
            yield item

    def draw_one(self, random: torch.Generator, progress: Progress) -> Replayed | None:
        """One minibatch, or None if the replay ratio asks for no more now."""
        if not self.is_warm or self.owed < self.minibatch_steps:
            return None
        self.owed -= self.minibatch_steps
        places, weights = self.selection.draw(self.rules.batch_size, random, progress.fraction)
        return self._replayed(places, weights)

    def _replayed(self, places: Places, weights: NDArray[np.float32]) -> Replayed:
        import torch

        numbers, environments = np.divmod(places, self.worker.environments)
        rows = numbers * self.interval
        if self.recurrent:
            rollout, burn_in = self.steps.sequences(rows, environments, self.span), self.rules.burn_in
        else:
            rollout, burn_in = self._transitions(rows, environments), 0
        return Replayed(rollout, torch.from_numpy(weights), places, burn_in, self.selection.unevenness)

    def _transitions(self, rows: Places, environments: Places) -> Rollout:
        """Steps of n rewards as rollouts of one step; each ends early where its episode does."""
        import torch

        steps, at = self.steps, rows
        rewards, discounts = np.zeros(len(rows), np.float32), np.ones(len(rows), np.float32)
        for _ in range(self.rules.multi_step):
            place = at % steps.rows, environments
            valid = steps.valid[place]
            rewards += np.where(valid, discounts * steps.rewards[place], np.float32(0))
            discounts *= np.where(valid, steps.discounts[place], np.float32(1))
            at = at + valid
        both = steps.observations(np.concatenate([rows, at]), np.tile(environments, 2))
        observed = tree_map(lambda each: torch.from_numpy(each.reshape(2, len(rows), *each.shape[1:])), both)
        assert steps.actions is not None
        return Rollout(
            observations=observed,
            actions=torch.from_numpy(steps.actions[rows % steps.rows, environments][None]),
            rewards=torch.from_numpy(rewards[None]),
            discounts=torch.from_numpy(discounts[None]),
            valid=torch.ones(1, len(rows), dtype=torch.bool),
            first=torch.zeros(2, len(rows), dtype=torch.bool),
            state=(),
        )

    def learned(self, experience: Replayed, feedback: Tensor) -> None:
        """Takes in the absolute TD error of each item [N]."""
        self.selection.update(experience.places, feedback.numpy())

    def learned_late(self, places: Places, errors: NDArray[np.float32], removed: int) -> None:
        """Takes in errors [N] of items that were drawn when `removed` was this; some may be overwritten since."""
        there = ~np.isin(places, self._places(removed, self.removed))
        if there.any():
            self.selection.update(places[there], errors[there])
