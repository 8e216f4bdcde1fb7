"""What A3C, IMPALA and PPO share: a policy and a value as heads of one network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from asyncrl.algorithms.base import DISCOUNTS, Algorithm, Explorer, check_persistence, check_rollouts
from asyncrl.errors import UserError
from asyncrl.search_ranges import Around, Between, searched
from asyncrl.types import Outputs, WorkerInfo

if TYPE_CHECKING:
    import torch
    from gymnasium.spaces import Space
    from torch import Tensor

    from asyncrl.networks.assemble import Network
    from asyncrl.networks.heads import Head, PolicyHead


def policy_of(network: Network) -> PolicyHead:
    """The head of the policy."""
    return cast("PolicyHead", network.heads["policy"])


@dataclass(frozen=True)
class ActorCritic(Algorithm):
    """A stochastic policy that is improved by advantages, with a value function as their baseline."""

    rollout_length: int = searched(20, Around(4))
    """Steps of each environment between two updates [t_max]."""
    discount: float = searched(0.99, DISCOUNTS)
    """How much a reward one step later is worth [γ]."""
    entropy_weight: float = searched(0.01, Between(1e-4, 0.1))
    """Of the entropy bonus, which keeps the policy from narrowing early [β]."""
    value_weight: float = 0.5
    """Of the squared value error [c]."""
    exploration_persistence: float = 0.0
    """Correlation of the noise behind the actions from step to step while it learns [ρ]. The papers have 0."""

    def __post_init__(self) -> None:
        check_rollouts(self.rollout_length, self.discount)
        check_persistence(self.exploration_persistence)
        if min(self.entropy_weight, self.value_weight) < 0:
            raise UserError("--entropy-weight and --value-weight must not be negative")

    def heads(self, action_space: Space[Any]) -> Mapping[str, Head]:
        """A policy and a value."""
        from asyncrl.networks.heads import Head, ValueHead, policy_head

        return {"policy": policy_head(action_space), "value": Head(ValueHead, acting=False)}

    def explorer(self, network: Network, worker: WorkerInfo, random: torch.Generator) -> Explorer:
        """Draws from the policy, with correlated noise if `exploration_persistence` asks for it."""
        if not self.exploration_persistence:
            return super().explorer(network, worker, random)
        from asyncrl.algorithms.exploring import CorrelatedSampling

        return CorrelatedSampling(policy_of(network), worker.environments, self.exploration_persistence, random)

    def act(self, network: Network, outputs: Outputs, random: torch.Generator) -> Tensor:
        """Actions drawn from the policy."""
        return policy_of(network).sample(outputs["policy"], random)

    def act_greedily(self, network: Network, outputs: Outputs) -> Tensor:
        """The policy's most probable actions."""
        return policy_of(network).mode(outputs["policy"])


def check_gae_lambda(gae_lambda: float) -> None:
    """Refuses a λ outside of [0, 1].

    Raises:
        UserError: It is.
    """
    if not 0 <= gae_lambda <= 1:
        raise UserError(f"--gae-lambda must lie in [0, 1], not {gae_lambda}")
