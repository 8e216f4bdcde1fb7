"""Asynchronous n-step Q-learning (Mnih et al. 2016, §4 and Algorithm S2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncrl import functional as F
from asyncrl.algorithms.value_based import ValueBased
from asyncrl.types import Rollout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class NStepQ(ValueBased):
    """y_t = R_t, the n-step return that ends in max_a Q(s_T, a; θ⁻): 1 step for the last, T for the first."""

    def targets(self, rollout: Rollout, online_values: Tensor, target_values: Tensor) -> Tensor:
        """n-step returns [T, B]."""
        best = self.best_values(online_values, target_values)  # [T+1, B]
        return F.returns.n_step_returns(rollout.rewards, rollout.discounts, best, rollout.valid)
