"""Policy-gradient losses."""

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
