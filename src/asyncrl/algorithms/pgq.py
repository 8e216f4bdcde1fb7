"""Policy gradient and Q-learning, PGQ (O'Donoghue et al. 2017), on asynchronous workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gymnasium.spaces import Box

from asyncrl import functional as F
from asyncrl.algorithms.a3c import A3C
from asyncrl.algorithms.actor_critic import policy_of
from asyncrl.algorithms.base import check_counts, check_replay, reduce, statistics
from asyncrl.errors import UserError
from asyncrl.memory.latest import LatestRollout
from asyncrl.memory.replay import Replayed, ReplayRules
from asyncrl.memory.rollout_and_replay import RolloutAndReplay, SavedRolloutAndReplay
from asyncrl.search_ranges import Around, OneOf, searched
from asyncrl.types import Loss, Rollout, WorkerInfo

if TYPE_CHECKING:
    from gymnasium.spaces import Space

    from asyncrl.networks.assemble import Networks
    from asyncrl.networks.heads import Head


@dataclass(frozen=True)
class PGQ(A3C):
    """A3C with Q-learning from replayed steps, on the action values that its policy and its value imply.

    These are Q̃(s, a) = α (log π(a|s) + H(π(·|s))) + V(s), where α is the entropy weight. With the error
    δ = r + γ max_b Q̃(s', b) - Q̃(s, a), the loss of a replayed step is -δ log π(a|s) + c (V(s) + δ - V(s))²; δ and the
    target are constants. It has the weight η, and the loss of A3C the weight 1 - η.

    Deviation: recurrent networks replay sequences, as they were acted, from the stored recurrent state. The paper has
    none.
    """

    q_learning_weight: float = searched(0.5, OneOf((0.25, 0.5, 0.75)))
    """Of Q-learning from replayed steps; the actor-critic has the rest [η]. 0 is A3C."""
    replay_ratio: float = searched(4.0, OneOf((1.0, 2.0, 4.0, 8.0)))
    """Number of replayed steps learned for each step taken."""
    batch_size: int = searched(32, Around(4))
    """Number of transitions in a replayed minibatch. For recurrent networks it is the number of sequences, each as long
    as a rollout."""
    replay_capacity: int = 100_000
    """Number of steps that the memories of all workers keep together."""
    replay_start: int = 5_000
    """Number of steps, over all workers, that are collected before anything is replayed. Each worker also waits for as
    many steps as one minibatch has."""
    save_replay: bool = False
    """Keep a copy of the replay memory on disk, beside the checkpoints, so that a resumed run has it again. Without it,
    a resumed run collects --replay-start new steps before it replays again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.q_learning_weight < 1:
            raise UserError(
                f"--q-learning-weight must lie in [0, 1), not {self.q_learning_weight}: "
                "for Q-learning alone take --algorithm dqn"
            )
        if self.q_learning_weight and not self.entropy_weight:
            raise UserError(
                "--entropy-weight must be positive: pgq reads action values from the policy with it as the temperature"
            )
        if not 0 < self.replay_ratio < float("inf"):
            raise UserError(
                f"--replay-ratio must be positive, not {self.replay_ratio}: to replay nothing take --algorithm a3c"
            )
        check_counts(self, "batch_size", "replay_capacity", "replay_start")
        check_replay(self.replay_capacity, self.replay_start, self.batch_size)

    @property
    def learns_before_replay(self) -> bool:
        """It learns from each rollout once as it comes."""
        return True

    def heads(self, action_space: Space[Any]) -> Mapping[str, Head]:
        """A policy and a value.

        Raises:
            UserError: The actions are continuous.
        """
        if isinstance(action_space, Box):
            raise UserError(f"pgq needs Discrete or MultiDiscrete actions, not {action_space}: take --algorithm ppo")
        return super().heads(action_space)

    def _rules(self, worker: WorkerInfo) -> ReplayRules:
        """What one worker replays."""
        return ReplayRules(
            capacity=self.replay_capacity // worker.workers,
            start=self.replay_start // worker.workers,
            ratio=self.replay_ratio,
            batch_size=self.batch_size,
            multi_step=1,
            sequence_length=self.rollout_length,
            burn_in=0,
        )

    def make_memory(self, worker: WorkerInfo) -> LatestRollout | RolloutAndReplay:
        """The newest rollout, and the worker's share of the replay memory."""
        if not self.q_learning_weight:
            return LatestRollout()
        kind = SavedRolloutAndReplay if self.save_replay else RolloutAndReplay
        return kind(self._rules(worker), self.rollout_length, worker)

    def memory_bytes(self, worker: WorkerInfo) -> int:
        """Room that the worker's share takes when it is full.

        Raises:
            UserError: The share is too small.
        """
        if not self.q_learning_weight:
            return 0
        rules = self._rules(worker)
        rules.check(worker, self.rollout_length, worker.recurrent)
        return rules.memory_bytes(worker)

    def loss(self, networks: Networks, experience: Rollout | Replayed) -> Loss:
        """The weighted loss of a rollout or of a replayed minibatch, summed over as many steps as a rollout has."""
        if isinstance(experience, Replayed):
            return self._replayed_loss(networks, experience.rollout)
        loss = super().loss(networks, experience)
        return replace(loss, total=(1 - self.q_learning_weight) * loss.total)

    def _replayed_loss(self, networks: Networks, rollout: Rollout) -> Loss:
        """The Q-learning loss of a minibatch.

        Args:
            networks: The worker's networks.
            rollout: T steps of N items; T is 1 for feed-forward networks.
        """
        outputs, head = networks.online.unroll(rollout), policy_of(networks.online)
        policy, values = outputs["policy"], outputs["value"]  # [T+1, N, ...], [T+1, N]
        entropies = head.entropy(policy)  # [T+1, N]
        best = F.value_learning.implied_action_values(  # max_b Q̃(s', b) [T, N]
            head.log_probability(policy, head.mode(policy))[1:], entropies[1:], values[1:], self.entropy_weight
        )
        targets = F.value_learning.one_step_targets(rollout.rewards, rollout.discounts, best).detach()
        log_probabilities = head.log_probability(policy[:-1], rollout.actions)
        chosen = F.value_learning.implied_action_values(
            log_probabilities, entropies[:-1], values[:-1], self.entropy_weight
        ).detach()

        errors = targets - chosen  # δ [T, N]
        policy_loss = F.policy_gradient.policy_gradient(log_probabilities, errors)
        value_loss = F.value_learning.squared_error(values[:-1], values[:-1] + errors)
        losses = policy_loss + self.value_weight * value_loss
        shown = {"entropy": entropies[:-1], "policy_loss": policy_loss, "value_loss": value_loss}
        steps = self.rollout_length / len(rollout.rewards)  # a single step counts for as many as a rollout has
        return Loss(
            total=self.q_learning_weight * steps * reduce(losses, rollout.valid),
            statistics=statistics(rollout.valid, chosen, targets, shown),
        )
