"""Returns of a rollout, inside which episodes may end."""

import torch
from torch import Tensor


def n_step_returns(rewards: Tensor, discounts: Tensor, values: Tensor, valid: Tensor) -> Tensor:
    """Calculates forward-view n-step returns (Mnih et al. 2016, Algorithm S3).

    G_t = r_t + discount_t · G_{t+1} where `valid`, else V(s_t), with G_T = V(s_T). So the k-th last step of a rollout
    gets a k-step return. After a terminal state the discount is 0, and nothing is bootstrapped. A truncated episode
    keeps its discount, and bootstraps from the value of its final observation, where the dummy step after it starts.

    Args:
        rewards: r_t [T, B].
        discounts: γ, or 0 after a terminal state [T, B].
        values: V(s_t) [T+1, B]; no gradient flows through them.
        valid: Bool [T, B], false on the dummy step after an episode's end.

    Returns:
        G_t [T, B], detached.
    """
    return lambda_returns(rewards, discounts, values, valid, 1.0)


def lambda_returns(rewards: Tensor, discounts: Tensor, values: Tensor, valid: Tensor, decay: float) -> Tensor:
    """Calculates λ-returns; G_t - V(s_t) is the generalised advantage estimate (Schulman et al. 2016, eq. 16).

    G_t = r_t + discount_t · ((1 - λ) V(s_{t+1}) + λ G_{t+1}) where `valid`, else V(s_t), with G_T = V(s_T). λ = 1 gives
    `n_step_returns`, λ = 0 one-step targets.

    Args:
        rewards: r_t [T, B].
        discounts: γ, or 0 after a terminal state [T, B].
        values: V(s_t) [T+1, B]; no gradient flows through them.
        valid: Bool [T, B], false on the dummy step after an episode's end.
        decay: λ in [0, 1].

    Returns:
        G_t [T, B], detached.
    """
    if values.shape[0] != rewards.shape[0] + 1:
        raise ValueError(
            f"values must have one row more than rewards, not {tuple(values.shape)} and {tuple(rewards.shape)}"
        )
    values = values.detach()
    returns = torch.empty_like(rewards)
    following = values[-1]
    for t in range(rewards.shape[0] - 1, -1, -1):
        mixed = following if decay == 1 else values[t + 1].lerp(following, decay)
        following = torch.where(valid[t], rewards[t] + discounts[t] * mixed, values[t])
        returns[t] = following
    return returns


def multi_step_returns(rewards: Tensor, discounts: Tensor, values: Tensor, valid: Tensor, steps: int) -> Tensor:
    """Calculates returns of at most n steps, the targets of multi-step Q-learning (Sutton & Barto 2018, eq. 7.1).

    G_t = r_t + discount_t · (r_{t+1} + … + discount_{t+n-1} · V(s_{t+n})). A return ends earlier, in V, where the
    sequence or its episode does. One step gives 1-step targets, T steps or more give `n_step_returns`.

    Args:
        rewards: r_t [T, B].
        discounts: γ, or 0 after a terminal state [T, B].
        values: V(s_t) [T+1, B]; no gradient flows through them.
        valid: Bool [T, B], false on the dummy step after an episode's end.
        steps: n, at least 1.

    Returns:
        G_t [T, B], detached.
    """
    values = values.detach()
    returns = values
    for _ in range(min(steps, len(rewards))):
        longer = torch.where(valid, rewards + discounts * returns[1:], values[:-1])
        returns = torch.cat([longer, values[-1:]])
    return returns[:-1]


def running_returns(rewards: Tensor, valid: Tensor, before: Tensor, discount: float) -> Tensor:
    """Calculates R_t = r_t + γ R_{t-1}, the discounted sum of an episode's rewards so far, seen from its latest step.

    Its standard deviation is what rewards are normalised by: the sums have the size of discounted returns, and none has
    to wait for an episode's end. R_t is 0 where a step is not valid, so that the next episode begins with nothing.

    Args:
        rewards: r_t [T, B].
        valid: Bool [T, B], false on the dummy step after an episode's end.
        before: R of the step before the first one [B].
        discount: γ.

    Returns:
        R_t [T, B].
    """
    returns = torch.empty_like(rewards)
    latest = before
    for t in range(rewards.shape[0]):
        latest = torch.where(valid[t], rewards[t] + discount * latest, 0.0)
        returns[t] = latest
    return returns
