"""Asynchronous advantage actor-critic, A3C (Mnih et al. 2016, §4 and Algorithm S3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from asyncrl import functional as F
from asyncrl.algorithms.base import (
    DISCOUNTS,
    Algorithm,
    Explorer,
    check_persistence,
    check_rollouts,
    reduce,
    statistics,
)
from asyncrl.errors import UserError
from asyncrl.search_ranges import Around, Between, searched
from asyncrl.types import Loss, Outputs, Rollout

if TYPE_CHECKING:
    import torch
    from gymnasium.spaces import Space
    from torch import Tensor

    from asyncrl.networks.assemble import Network, Networks
    from asyncrl.networks.heads import Head, PolicyHead


@dataclass(frozen=True)
class A3C(Algorithm):
    """Policy gradient with n-step advantages, a value baseline and an entropy bonus.

    The loss is Σ_t [ -log π(a_t|s_t) (R_t - V(s_t)) - β H(π(s_t)) + c (R_t - V(s_t))² ], with n-step returns R_t.
    With λ < 1 they are λ-returns, and R_t - V(s_t) is the generalised advantage estimate (Schulman et al. 2016).
    Algorithm S3 omits the entropy term that the paper's §4 describes and its experiments used.
    """

    rollout_length: int = searched(20, Around(4))
    """Steps of each environment between two updates [t_max]."""
    discount: float = searched(0.99, DISCOUNTS)
    """How much a reward one step later is worth [γ]."""
    entropy_weight: float = searched(0.01, Between(1e-4, 0.1))
    """Of the entropy bonus, which keeps the policy from narrowing early [β]."""
    value_weight: float = 0.5
    """Of the squared value error [c]."""
    gae_lambda: float = 1.0
    """Weight of long returns against short ones in advantages and value targets [λ of GAE]; 1 is the paper's."""
    exploration_persistence: float = 0.0
    """Correlation of the noise behind the actions from step to step while it learns [ρ]. The paper has 0."""

    def __post_init__(self) -> None:
        check_rollouts(self.rollout_length, self.discount)
        check_persistence(self.exploration_persistence)
        if min(self.entropy_weight, self.value_weight) < 0:
            raise UserError("--entropy-weight and --value-weight must not be negative")
        if not 0 <= self.gae_lambda <= 1:
            raise UserError(f"--gae-lambda must lie in [0, 1], not {self.gae_lambda}")

    def heads(self, action_space: Space[Any]) -> Mapping[str, Head]:
        """A policy and a value."""
        from asyncrl.networks.heads import Head, ValueHead, policy_head

        return {"policy": policy_head(action_space), "value": Head(ValueHead, acting=False)}

    def explorer(self, network: Network, environments: int, random: torch.Generator) -> Explorer:
        """Draws from the policy, with correlated noise if `exploration_persistence` asks for it."""
        if not self.exploration_persistence:
            return super().explorer(network, environments, random)
        from asyncrl.algorithms.exploring import CorrelatedSampling

        return CorrelatedSampling(_policy(network), environments, self.exploration_persistence, random)

    def act(self, network: Network, outputs: Outputs, random: torch.Generator) -> Tensor:
        """Actions drawn from the policy."""
        return _policy(network).sample(outputs["policy"], random)

    def act_greedily(self, network: Network, outputs: Outputs) -> Tensor:
        """The policy's most probable actions."""
        return _policy(network).mode(outputs["policy"])

    def loss(self, networks: Networks, experience: Rollout) -> Loss:
        """The loss of a rollout, summed over its steps."""
        rollout, network = experience, networks.online
        outputs = network.unroll(rollout)  # [T+1, B, ...]
        policy, values = outputs["policy"][:-1], outputs["value"]  # [T, B, ...], [T+1, B]
        returns = F.returns.lambda_returns(  # [T, B]
            rollout.rewards, rollout.discounts, values, rollout.valid, self.gae_lambda
        )

        log_probabilities = _policy(network).log_probability(policy, rollout.actions)  # [T, B]
        policy_loss = F.policy_gradient.policy_gradient(log_probabilities, returns - values[:-1])
        value_loss = F.value_learning.squared_error(values[:-1], returns)
        entropy = _policy(network).entropy(policy)

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


def _policy(network: Network) -> PolicyHead:
    return cast("PolicyHead", network.heads["policy"])
