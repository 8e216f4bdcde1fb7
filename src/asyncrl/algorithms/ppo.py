"""Proximal policy optimisation, PPO (Schulman et al. 2017), on asynchronous workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrl import functional as F
from asyncrl.algorithms.actor_critic import ActorCritic, check_gae_lambda, policy_of
from asyncrl.algorithms.base import reduce, statistics
from asyncrl.errors import UserError
from asyncrl.memory.shuffled import Constants, Minibatch, ShuffledRollout
from asyncrl.search_ranges import Around, Between, OneOf, searched
from asyncrl.types import Loss, Rollout, WorkerInfo

if TYPE_CHECKING:
    from asyncrl.networks.assemble import Networks


@dataclass(frozen=True)
class PPO(ActorCritic):
    """Learns from each rollout several times, with a clipped objective that keeps the policy near the one that acted.

    With ρ_t = π(a_t|s_t) / π_acted(a_t|s_t), the loss of a step is
    -min(ρ_t A_t, clip(ρ_t, 1 - ε, 1 + ε) A_t) - β H(π(s_t)) + c (R_t - V(s_t))².

    Deviation: several workers learn into the shared θ without a lock, each from its own environments. With --workers 1
    it is the paper's algorithm.
    """

    rollout_length: int = searched(128, Around(4))
    """Steps of each environment between two rounds of learning [T]."""
    entropy_weight: float = searched(0.0, Between(1e-4, 0.1))
    """Of the entropy bonus, which keeps the policy from narrowing early [β, the paper's c_2]."""
    gae_lambda: float = searched(0.95, OneOf((0.8, 0.9, 0.95, 0.98, 1.0)))
    """Weight of long returns against short ones in advantages and value targets [λ of GAE]."""
    clip_range: float = searched(0.2, OneOf((0.1, 0.2, 0.3)))
    """How far a probability may move from that of the policy that acted before its gradient vanishes [ε]."""
    epochs: int = searched(10, OneOf((2, 4, 10)))
    """Number of times that each rollout is learned."""
    minibatches: int = searched(4, Around(4))
    """Number of minibatches, and so of updates, in each epoch. A recurrent network has at most one for each environment
    of a worker, because it learns whole sequences."""
    normalize_advantages: bool = True
    """Shift and scale the advantages of each minibatch to mean 0 and standard deviation 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_gae_lambda(self.gae_lambda)
        if not 0 < self.clip_range < 1:
            raise UserError(f"--clip-range must lie in (0, 1), not {self.clip_range}")
        if self.epochs < 1 or self.minibatches < 1:
            raise UserError("--epochs and --minibatches must be at least 1")

    def make_memory(self, worker: WorkerInfo) -> ShuffledRollout:
        """The latest rollout, in minibatches."""
        return ShuffledRollout(self.epochs, self.minibatches, self._constants)

    def _constants(self, rollout: Rollout, networks: Networks) -> Constants:
        """Log-probabilities of the actions, returns and advantages [T, B], by the parameters θ' that acted."""
        outputs = networks.online.unroll(rollout)
        values, policy = outputs["value"], outputs["policy"][:-1]
        returns = F.returns.lambda_returns(rollout.rewards, rollout.discounts, values, rollout.valid, self.gae_lambda)
        return {
            "log_probabilities": policy_of(networks.online).log_probability(policy, rollout.actions),
            "returns": returns,
            "advantages": returns - values[:-1],
        }

    def loss(self, networks: Networks, experience: Minibatch) -> Loss:
        """The mean loss of a minibatch."""
        batch, head, valid = experience, policy_of(networks.online), experience.valid
        outputs, _ = networks.online(batch.observations, batch.state, batch.first)  # [T, N, ...]
        log_probabilities = head.log_probability(outputs["policy"], batch.actions)
        ratios = (log_probabilities - batch.constants["log_probabilities"]).exp()
        advantages, returns = batch.constants["advantages"], batch.constants["returns"]
        if self.normalize_advantages:
            advantages = F.policy_gradient.normalized(advantages, valid)
        policy_loss = F.policy_gradient.clipped_surrogate(ratios, advantages, self.clip_range)
        value_loss = F.value_learning.squared_error(outputs["value"], returns)
        entropy = head.entropy(outputs["policy"])

        losses = policy_loss - self.entropy_weight * entropy + self.value_weight * value_loss
        clipped = ((ratios - 1).abs() > self.clip_range).to(losses.dtype)
        shown = {"entropy": entropy, "policy_loss": policy_loss, "value_loss": value_loss, "clipped_share": clipped}
        return Loss(
            total=reduce(losses, valid) / len(batch.actions),
            statistics=statistics(valid, outputs["value"], returns, shown),
        )
