"""Asynchronous advantage actor-critic, A3C (Mnih et al. 2016, §4 and Algorithm S3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncrl import functional as F
from asyncrl.algorithms.base import Networks, mean, reduce
from asyncrl.errors import UserError
from asyncrl.types import Loss, Outputs, Rollout

if TYPE_CHECKING:
    import torch
    from gymnasium.spaces import Space
    from torch import Tensor

    from asyncrl.networks.assemble import Network
    from asyncrl.networks.heads import HeadFactory


@dataclass(frozen=True)
class A3C:
    """Policy gradient with n-step advantages, a value baseline and an entropy bonus.

    The loss is Σ_t [ -log π(a_t|s_t) (R_t - V(s_t)) - β H(π(s_t)) + c (R_t - V(s_t))² ], with n-step returns R_t.
    Algorithm S3 omits the entropy term that the paper's §4 describes and its experiments used.
    """

    rollout_length: int = 20
    """Steps of each environment between two updates [t_max]."""
    discount: float = 0.99
    """How much a reward one step later is worth [γ]."""
    entropy_weight: float = 0.01
    """Of the entropy bonus, which keeps the policy from narrowing early [β]."""
    value_weight: float = 0.5
    """Of the squared value error [c]."""

    def __post_init__(self) -> None:
        if self.rollout_length < 1:
            raise UserError(f"--rollout-length must be at least 1, not {self.rollout_length}")
        if not 0 <= self.discount <= 1:
            raise UserError(f"--discount must lie in [0, 1], not {self.discount}")
        if min(self.entropy_weight, self.value_weight) < 0:
            raise UserError("--entropy-weight and --value-weight must not be negative")

    def heads(self, action_space: Space[Any]) -> Mapping[str, HeadFactory]:
        """A policy and a value that share torso and core."""
        from asyncrl.networks.heads import ValueHead, policy_head

        return {"policy": policy_head(action_space), "value": ValueHead}

    def act(self, network: Network, outputs: Outputs, random: torch.Generator) -> Tensor:
        """Actions drawn from the policy."""
        return network.policy.sample(outputs["policy"], random)

    def act_greedily(self, network: Network, outputs: Outputs) -> Tensor:
        """The policy's most probable actions."""
        return network.policy.mode(outputs["policy"])

    def make_memory(self) -> None:
        """None: each rollout is used once."""

    def experience(self, rollout: Rollout, memory: None, random: torch.Generator) -> Iterable[Rollout]:
        """The rollout itself."""
        yield rollout

    def loss(self, networks: Networks, experience: Rollout) -> Loss:
        """The loss of a rollout, summed over its steps."""
        rollout, network = experience, networks.online
        outputs, _ = network(rollout.observations, rollout.state, rollout.first)  # each [T+1, B, ...]
        policy, values = outputs["policy"][:-1], outputs["value"]  # [T, B, ...], [T+1, B]
        returns = F.returns.n_step_returns(rollout.rewards, rollout.discounts, values, rollout.valid)  # [T, B]

        log_probabilities = network.policy.log_probability(policy, rollout.actions)  # [T, B]
        policy_loss = F.policy_gradient.policy_gradient(log_probabilities, returns - values[:-1])
        value_loss = F.value_learning.squared_error(values[:-1], returns)
        entropy = network.policy.entropy(policy)

        losses = policy_loss - self.entropy_weight * entropy + self.value_weight * value_loss
        return Loss(
            total=reduce(losses, rollout.valid),
            statistics={
                "entropy": mean(entropy, rollout.valid),
                "policy_loss": mean(policy_loss, rollout.valid),
                "value_loss": mean(value_loss, rollout.valid),
                "value_mean": mean(values[:-1], rollout.valid),
            },
        )
