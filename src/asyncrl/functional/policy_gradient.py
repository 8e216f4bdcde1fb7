"""Policy-gradient losses."""

import torch
from torch import Tensor


def policy_gradient(log_probabilities: Tensor, advantages: Tensor) -> Tensor:
    """Calculates -log π(a_t|s_t) · A_t, whose gradient is the negated policy gradient of Mnih et al. 2016, §4.

    Args:
        log_probabilities: log π(a_t|s_t) of the actions taken [T, B].
        advantages: A_t [T, B]. The policy gradient treats them as constants, so they are detached here.

    Returns:
        Losses [T, B].
    """
    return -log_probabilities * advantages.detach()


def clipped_surrogate(ratios: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """Calculates -min(ρ_t A_t, clip(ρ_t, 1 - ε, 1 + ε) A_t) (Schulman et al. 2017, eq. 7).

    A probability that has moved by more than ε in the direction of its advantage gets no gradient.

    Args:
        ratios: ρ_t = π(a_t|s_t) / μ(a_t|s_t), with μ the policy that acted [T, B].
        advantages: A_t [T, B], detached here.
        clip_range: ε.

    Returns:
        Losses [T, B].
    """
    advantages = advantages.detach()
    return -torch.minimum(ratios * advantages, ratios.clamp(1 - clip_range, 1 + clip_range) * advantages)


def normalized(advantages: Tensor, valid: Tensor) -> Tensor:
    """Shifts and scales advantages [T, B] so that those of valid steps [T, B] have mean 0 and standard deviation 1.

    A single valid step is left as it is.
    """
    chosen = advantages[valid]
    if len(chosen) < 2:
        return advantages
    deviation, mean = torch.std_mean(chosen)
    return (advantages - mean) / (deviation + 1e-8)
