"""Deep Q-networks, DQN (Mnih et al. 2013 and 2015), with what was added to them, on asynchronous workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from asyncrl import functional as F
from asyncrl import metrics
from asyncrl.algorithms.base import check_counts, check_replay, reduce, statistics
from asyncrl.algorithms.value_based import WithTargetNetwork
from asyncrl.errors import UserError
from asyncrl.memory.replay import Replayed, ReplayMemory, ReplayRules
from asyncrl.memory.saved_replay import SavedReplayMemory
from asyncrl.search_ranges import Around, Between, OneOf, searched
from asyncrl.tree import tree_map
from asyncrl.types import Loss, Rollout, WorkerInfo

if TYPE_CHECKING:
    from torch import Tensor

    from asyncrl.networks.assemble import Network, Networks

UNIFORM, FEED_FORWARD = ("prioritized", "none"), ("memory", "none")
"""Settings with values that leave others without effect."""


@dataclass(frozen=True)
class DQN(WithTargetNetwork):
    """Minimises the error of Q(s, a; θ') against r + γ max_b Q(s', b; θ⁻) on steps drawn from a replay memory.

    Double DQN (van Hasselt et al. 2016), dueling networks (Wang et al. 2016), prioritized replay (Schaul et al. 2016)
    and multi-step targets are switches, in every combination. Recurrent networks replay sequences from stored states,
    with a burn-in (Kapturowski et al. 2019, R2D2).

    Deviation: every worker acts, keeps its share of the replay memory and learns into the shared θ without a lock.
    With --workers 1 it is the papers' serial algorithm.
    """

    rollout_length: int = 4
    """Steps of each environment between two rounds of learning. The papers have 4."""
    multi_step: int = searched(1, OneOf((1, 3, 5, 10)))
    """Number of rewards in a target before it bootstraps [n]."""
    prioritized: Literal["none", "proportional", "rank"] = "none"
    """How steps are drawn from the replay memory: all alike, or by the size or the rank of their errors."""
    priority_exponent: float = searched(0.6, Between(0.3, 0.9), unless=UNIFORM)
    """How much priorities count [α]: 0 draws all steps alike."""
    importance_exponent: float = searched(0.4, Between(0.2, 1.0), unless=UNIFORM)
    """How much of the bias of priorities is corrected at the start of the run [β]; it rises to 1 at the end."""
    replay_capacity: int = 100_000
    """Number of steps that the replay memories of all workers keep together."""
    replay_start: int = 5_000
    """Number of steps, over all workers, that are collected before learning begins. Each worker also waits for as many
    steps as one minibatch has."""
    replay_ratio: float = searched(8.0, Around(4))
    """Number of replayed steps learned for each step taken. The papers have 8: 32 after every 4 steps."""
    batch_size: int = searched(32, Around(4))
    """Number of transitions (sequences, for recurrent networks) in a minibatch [N]."""
    sequence_length: int = searched(20, Around(2), unless=FEED_FORWARD)
    """Number of steps of a replayed sequence that a recurrent network learns from. R2D2 has 40."""
    burn_in: int = searched(10, OneOf((0, 5, 10, 20)), unless=FEED_FORWARD)
    """Number of steps before a replayed sequence that only bring its recurrent state up to date. R2D2 has 40."""
    save_replay: bool = False
    """Keep a copy of the replay memory on disk, beside the checkpoints, so that a resumed run has it again. Without it,
    a resumed run collects --replay-start new steps before it learns again."""
    error: Literal["huber", "squared"] = "huber"
    """Loss of a TD error. huber: linear beyond 1, which clips the error as Mnih et al. (2015) do."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "multi_step", "replay_capacity", "replay_start", "batch_size", "sequence_length")
        if self.burn_in < 0:
            raise UserError(f"--burn-in must not be negative, not {self.burn_in}")
        if not 0 < self.replay_ratio < float("inf"):
            raise UserError(f"--replay-ratio must be positive, not {self.replay_ratio}")
        if not 0 <= self.priority_exponent <= 1 or not 0 <= self.importance_exponent <= 1:
            raise UserError("--priority-exponent and --importance-exponent must lie in [0, 1]")
        check_replay(self.replay_capacity, self.replay_start, self.batch_size)

    @property
    def learns_from_replay_alone(self) -> bool:
        """Actors and learners may be separate workers (Nair et al. 2015, Gorila)."""
        return True

    def _rules(self, worker: WorkerInfo) -> ReplayRules:
        """What one worker replays."""
        return ReplayRules(
            capacity=self.replay_capacity // worker.workers,
            start=self.replay_start // worker.workers,
            ratio=self.replay_ratio,
            batch_size=self.batch_size,
            multi_step=self.multi_step,
            sequence_length=self.sequence_length,
            burn_in=self.burn_in,
            by_rank=None if self.prioritized == "none" else self.prioritized == "rank",
            priority_exponent=self.priority_exponent,
            importance_exponent=self.importance_exponent,
        )

    def make_memory(self, worker: WorkerInfo) -> ReplayMemory:
        """The worker's share of the replay memory."""
        kind = SavedReplayMemory if self.save_replay else ReplayMemory
        return kind(self._rules(worker), self.rollout_length, worker)

    def memory_bytes(self, worker: WorkerInfo) -> int:
        """Room that the worker's share takes when it is full.

        Raises:
            UserError: The share is too small.
        """
        rules = self._rules(worker)
        rules.check(worker, self.rollout_length, worker.recurrent)
        return rules.memory_bytes(worker)

    def loss(self, networks: Networks, experience: Replayed) -> Loss:
        """Half the weighted errors of a minibatch: summed over the steps of a sequence, averaged over the minibatch."""
        import torch

        assert networks.target is not None
        rollout = experience.learned_by(networks.online)  # T steps of N items
        every = networks.online.unroll(rollout, final=self.double)["q"]  # [T, N, A], or [T+1, N, A] if `double`
        with torch.no_grad():
            following = _values_after(networks.target, experience.learned_by(networks.target))  # [T, N, A]
            best = self.best_values(every[1:] if self.double else following, following)  # [T, N]
        # nothing is bootstrapped from the first observation, whose value is left out
        values_after = torch.cat([torch.zeros_like(best[:1]), best])  # [T+1, N]
        targets = F.returns.multi_step_returns(
            rollout.rewards, rollout.discounts, values_after, rollout.valid, self.multi_step
        )
        chosen = F.value_learning.taken(every[: len(rollout.actions)], rollout.actions)  # [T, N]
        squared = F.value_learning.squared_error(chosen, targets)
        losses = squared if self.error == "squared" else F.value_learning.huber_error(chosen, targets)
        watched = statistics(rollout.valid, chosen, targets, {"value_loss": squared})
        if experience.unevenness is not None:
            watched[metrics.PRIORITY_UNEVENNESS] = torch.tensor(experience.unevenness)
        return Loss(
            total=reduce(losses * experience.weights, rollout.valid) / 2,
            statistics=watched,
            feedback=_priority_errors((targets - chosen).detach(), rollout.valid),
        )


def _values_after(network: Network, rollout: Rollout) -> Tensor:
    """Action values [T, N, A] of the observation after each step."""
    if rollout.state:
        return network.unroll(rollout)["q"][1:]
    after = tree_map(lambda rows: rows[1:], rollout.observations)
    values: Tensor = network(after, (), rollout.first[1:])[0]["q"]
    return values


def _priority_errors(errors: Tensor, valid: Tensor) -> Tensor:
    """One absolute error [N] for each item from those of its steps [T, N].

    For sequences it is 0.9 times the largest plus 0.1 times the mean (Kapturowski et al. 2019, §2.3).
    """
    sizes = errors.abs() * valid
    return 0.9 * sizes.amax(0) + 0.1 * sizes.sum(0) / valid.sum(0).clamp(min=1)
