"""Policy-gradient losses."""

from torch import Tensor


def policy_gradient(log_probabilities: Tensor, advantages: Tensor) -> Tensor:
    """-log π(a_t|s_t) · A_t, whose gradient is the (negated) policy gradient of Mnih et al. 2016, §4.

    Args:
        log_probabilities: [T, B], of the actions taken.
        advantages: [T, B]; a constant for the policy gradient, so it is detached here.

    Returns:
        [T, B].
    """
    return -log_probabilities * advantages.detach()
