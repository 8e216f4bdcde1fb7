"""Losses of value estimates."""

from torch import Tensor


def squared_error(values: Tensor, targets: Tensor) -> Tensor:
    """(target - V)², the targets held constant (Mnih et al. 2016, Algorithms 1, S2 and S3).

    Args:
        values: [T, B].
        targets: [T, B], detached here.

    Returns:
        [T, B].
    """
    return (targets.detach() - values).square()


def taken(action_values: Tensor, actions: Tensor) -> Tensor:
    """Q(s, a) of given actions: action values [..., A] and int64 actions [...] give [...]."""
    return action_values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def one_step_targets(rewards: Tensor, discounts: Tensor, next_values: Tensor) -> Tensor:
    """r_t + discount_t · v_{t+1} (Mnih et al. 2016, Algorithm 1).

    Args:
        rewards: [T, B].
        discounts: [T, B], γ, or 0 after a terminal state.
        next_values: [T, B], the value of what follows step t.

    Returns:
        [T, B].
    """
    return rewards + discounts * next_values
