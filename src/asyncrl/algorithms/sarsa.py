"""Asynchronous 1-step Sarsa (Mnih et al. 2016, §4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrl import functional as F
from asyncrl.algorithms.value_based import ValueBased
from asyncrl.errors import UserError
from asyncrl.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sarsa(ValueBased):
    """y_t = r_t + discount_t Q(s_{t+1}, a_{t+1}; θ⁻), with the action that is really taken in s_{t+1}.

    Deviation: gradients are accumulated at a copy of θ made at the rollout's start, not at θ itself.
    """

    @property
    def look_ahead(self) -> bool:
        """The last target needs the action that follows the rollout."""
        return True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.double:
            raise UserError("--double needs a maximum over actions, and Sarsa's target has none: leave it out")

    def targets(self, rollout: Rollout, online_values: Tensor, target_values: Tensor) -> Tensor:
        """One-step targets [T, B]."""
        import torch

        assert rollout.next_actions is not None
        following = torch.cat([rollout.actions[1:], rollout.next_actions[None]])  # [T, B]
        values = F.value_learning.taken(target_values[1:], following)
        return F.value_learning.one_step_targets(rollout.rewards, rollout.discounts, values)
