"""Actor-critic with V-trace, as in IMPALA (Espeholt et al. 2018), on asynchronous workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrl import functional as F
from asyncrl.algorithms.actor_critic import ActorCritic, policy_of
from asyncrl.algorithms.base import reduce, statistics
from asyncrl.errors import UserError
from asyncrl.memory.latest import LatestRollout
from asyncrl.search_ranges import OneOf, searched
from asyncrl.types import Loss, Progress, Rollout, WorkerInfo

if TYPE_CHECKING:
    import torch

    from asyncrl.networks.assemble import Networks


class RepeatedRollout(LatestRollout):
    """The latest rollout as a whole, several times.

    Args:
        epochs: How many times.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterator[Rollout]:
        """The rollout, once for each epoch."""
        for _ in range(self.epochs):
            assert self.rollout is not None
            yield self.rollout


@dataclass(frozen=True)
class IMPALA(ActorCritic):
    """A3C whose returns and advantages are corrected by V-trace for the policy that acted.

    The correction matters where parameters have changed since the policy acted: when a rollout is learned more than
    once, and when other workers write θ in the meantime. Where the policy is still the same, it is A3C.

    Deviation: every worker acts and learns. The paper's actors send their rollouts to one learner.
    """

    epochs: int = searched(2, OneOf((1, 2, 4)))
    """Number of times that each rollout is learned. The paper has 1."""
    rho_limit: float = 1.0
    """Largest importance weight of a step's error [ρ̄]. It decides which policy the values belong to."""
    trace_limit: float = 1.0
    """Largest importance weight in the traces [c̄]. It decides how far later errors are carried back."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1:
            raise UserError(f"--epochs must be at least 1, not {self.epochs}")
        if not self.rho_limit >= self.trace_limit > 0:
            raise UserError("--trace-limit must be positive, and --rho-limit must not be smaller")

    @property
    def behaviour(self) -> tuple[str, ...]:
        """The policies that acted."""
        return ("policy",)

    def make_memory(self, worker: WorkerInfo) -> RepeatedRollout:
        """The latest rollout."""
        return RepeatedRollout(self.epochs)

    def loss(self, networks: Networks, experience: Rollout) -> Loss:
        """The loss of a rollout, summed over its steps."""
        rollout, head = experience, policy_of(networks.online)
        outputs = networks.online.unroll(rollout)  # [T+1, B, ...]
        policy, values = outputs["policy"][:-1], outputs["value"]  # [T, B, ...], [T+1, B]
        log_probabilities = head.log_probability(policy, rollout.actions)  # [T, B]
        acted = head.log_probability(rollout.behaviour["policy"], rollout.actions)
        ratios = F.off_policy.importance_ratios(log_probabilities, acted)
        targets, advantages = F.off_policy.v_trace(
            rollout.rewards, rollout.discounts, values, ratios, rollout.valid, self.rho_limit, self.trace_limit
        )
        policy_loss = F.policy_gradient.policy_gradient(log_probabilities, advantages)
        value_loss = F.value_learning.squared_error(values[:-1], targets)
        entropy = head.entropy(policy)

        losses = policy_loss - self.entropy_weight * entropy + self.value_weight * value_loss
        shown = {"entropy": entropy, "policy_loss": policy_loss, "value_loss": value_loss, "importance_weight": ratios}
        return Loss(
            total=reduce(losses, rollout.valid), statistics=statistics(rollout.valid, values[:-1], targets, shown)
        )
