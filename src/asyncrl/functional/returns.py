"""Returns of a rollout, with episodes that end inside it."""

import torch
from torch import Tensor


def n_step_returns(rewards: Tensor, discounts: Tensor, values: Tensor, valid: Tensor) -> Tensor:
    """Forward-view n-step returns: the k-th last step of a rollout gets a k-step return.

    G_t = r_t + discount_t · G_{t+1} where `valid`, else V(s_t), with G_T = V(s_T). A terminal state has discount 0 and
    is bootstrapped from nothing. A truncated episode keeps its discount, and the dummy step after it bootstraps from
    the value of its real final observation. (Mnih et al. 2016, Algorithm S3.)

    Args:
        rewards: [T, B].
        discounts: [T, B], γ, or 0 after a terminal state.
        values: [T+1, B], V(s_t); not differentiated through.
        valid: [T, B] bool, false on the dummy step after an episode's end.

    Returns:
        [T, B], detached.
    """
    if values.shape[0] != rewards.shape[0] + 1:
        raise ValueError(f"values must have one row more than rewards: {tuple(values.shape)}, {tuple(rewards.shape)}")
    values = values.detach()
    returns = torch.empty_like(rewards)
    following = values[-1]
    for t in range(rewards.shape[0] - 1, -1, -1):
        following = torch.where(valid[t], rewards[t] + discounts[t] * following, values[t])
        returns[t] = following
    return returns
