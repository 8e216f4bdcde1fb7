"""Normalises rewards by the running standard deviation of the discounted return, over all workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from asyncrl.functional.returns import running_returns
from asyncrl.runtime.rollout_buffer import RewardRule
from asyncrl.runtime.shared import combine
from asyncrl.types import Rollout

RETURN_MOMENTS = "return_moments"
"""Name of the tensor in checkpoints that holds the moments of the discounted returns."""

LIMIT = 10.0
"""Normalised rewards are clipped to plus or minus this value, as Stable-Baselines3's VecNormalize does."""
SMALLEST_VARIANCE = 1e-8


class RewardNormalizer:
    """Divides one worker's rewards by the standard deviation of the discounted returns that all workers have seen.

    The returns are sums of the rewards so far in an episode (`functional.returns.running_returns`), as in VecNormalize;
    those of Gymnasium's NormalizeReward run on over the end of an episode. The mean is not subtracted. A rollout's own
    returns are added before its rewards are divided.

    Args:
        environments: Number of the worker's environments [B].
        discount: γ.
    """

    def __init__(self, environments: int, discount: float) -> None:
        self.discount = discount
        self.returns = torch.zeros(environments)  # of the running episodes so far [B]

    def normalize(self, rollout: Rollout, variance_with: Callable[[Tensor], Tensor]) -> None:
        """Normalises the rewards of the worker's next rollout in place.

        Args:
            rollout: The rollout; its rewards are those that would be learned from otherwise, clipped ones for example.
            variance_with: Adds returns [N] to those that all workers have seen, and gives the variance of all [].
        """
        returns = running_returns(rollout.rewards, rollout.valid, self.returns, self.discount)
        self.returns = returns[-1].clone()
        variance = variance_with(returns[rollout.valid])
        rollout.rewards.div_(_deviation(variance).to(rollout.rewards.dtype)).clamp_(-LIMIT, LIMIT)


def normalizing_rule(clip: float | None, deviation: float) -> RewardRule:
    """What is learned from instead of a reward while the returns have this deviation.

    Args:
        clip: Rewards are clipped to plus or minus this before they are normalised; None if they are not.
        deviation: Standard deviation of the discounted returns, as `saved_deviation` gives it.
    """
    limit = LIMIT * deviation  # clipping to it is clipping to `LIMIT` after the division
    return RewardRule(limit if clip is None else min(clip, limit), 1 / deviation)


def saved_deviation(tensors: Mapping[str, Tensor]) -> float:
    """The standard deviation of the discounted returns in a checkpoint's tensors; 1 if rewards are not normalised."""
    if RETURN_MOMENTS not in tensors:
        return 1.0
    return float(_deviation(combine(tensors[RETURN_MOMENTS]).variance.squeeze()))


def _deviation(variance: Tensor) -> Tensor:
    return (variance + SMALLEST_VARIANCE).sqrt()
