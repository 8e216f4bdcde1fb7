"""Asynchronous advantage actor-critic, A3C (Mnih et al. 2016, §4 and Algorithm S3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrl import functional as F
from asyncrl.algorithms.actor_critic import ActorCritic, check_gae_lambda, policy_of
from asyncrl.algorithms.base import reduce, statistics
from asyncrl.types import Loss, Rollout

if TYPE_CHECKING:
    from asyncrl.networks.assemble import Networks


@dataclass(frozen=True)
class A3C(ActorCritic):
    """Policy gradient with n-step advantages, a value baseline and an entropy bonus.

    The loss is Σ_t [ -log π(a_t|s_t) (R_t - V(s_t)) - β H(π(s_t)) + c (R_t - V(s_t))² ], with n-step returns R_t.
    With λ < 1 they are λ-returns, and R_t - V(s_t) is the generalised advantage estimate (Schulman et al. 2016).
    Algorithm S3 omits the entropy term that the paper's §4 describes and its experiments used.
    """

    gae_lambda: float = 1.0
    """Weight of long returns against short ones in advantages and value targets [λ of GAE]; 1 is the paper's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_gae_lambda(self.gae_lambda)

    def loss(self, networks: Networks, experience: Rollout) -> Loss:
        """The loss of a rollout, summed over its steps."""
        rollout, network = experience, networks.online
        outputs = network.unroll(rollout)  # [T+1, B, ...]
        policy, values = outputs["policy"][:-1], outputs["value"]  # [T, B, ...], [T+1, B]
        returns = F.returns.lambda_returns(  # [T, B]
            rollout.rewards, rollout.discounts, values, rollout.valid, self.gae_lambda
        )

        log_probabilities = policy_of(network).log_probability(policy, rollout.actions)  # [T, B]
        policy_loss = F.policy_gradient.policy_gradient(log_probabilities, returns - values[:-1])
        value_loss = F.value_learning.squared_error(values[:-1], returns)
        entropy = policy_of(network).entropy(policy)

        losses = policy_loss - self.entropy_weight * entropy + self.value_weight * value_loss
        return Loss(
            total=reduce(losses, rollout.valid),
            statistics=statistics(
                rollout.valid,
                values[:-1],
                returns,
                {"entropy": entropy, "policy_loss": policy_loss, "value_loss": value_loss},
            ),
        )
