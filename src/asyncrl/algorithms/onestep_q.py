"""Asynchronous 1-step Q-learning (Mnih et al. 2016, §4 and Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrl import functional as F
from asyncrl.algorithms.value_based import ValueBased
from asyncrl.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class OneStepQ(ValueBased):
    """y_t = r_t + discount_t max_a Q(s_{t+1}, a; θ⁻).

    Deviation: gradients are accumulated at a copy of θ made at the rollout's start, not at θ itself.
    """

    def targets(self, rollout: Rollout, online_values: Tensor, target_values: Tensor) -> Tensor:
        """One-step targets [T, B]."""
        best = self.best_values(online_values[1:], target_values[1:])  # [T, B]
        return F.value_learning.one_step_targets(rollout.rewards, rollout.discounts, best)
