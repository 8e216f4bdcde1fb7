"""Targets and losses of value estimates."""

from torch import Tensor


def squared_error(values: Tensor, targets: Tensor) -> Tensor:
    """Calculates (target - V)² with constant targets (Mnih et al. 2016, Algorithms 1, S2 and S3).

    Args:
        values: V, or Q of the actions taken [T, B].
        targets: [T, B], detached here.

    Returns:
        Losses [T, B].
    """
    return (targets.detach() - values).square()


def huber_error(values: Tensor, targets: Tensor) -> Tensor:
    """Calculates the squared error where it is below 1, and a linear one with the same slope there beyond that.

    The gradient is that of the squared error with the error clipped to [-1, 1] (Mnih et al. 2015, Methods).

    Args:
        values: Q of the actions taken [T, B].
        targets: [T, B], detached here.

    Returns:
        Losses [T, B].
    """
    errors = (targets.detach() - values).abs()
    clipped = errors.clamp(max=1.0)
    return clipped * (2 * errors - clipped)


def taken(action_values: Tensor, actions: Tensor) -> Tensor:
    """Selects Q(s, a) [...] of given actions, int64 [...], from action values [..., A]."""
    return action_values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def one_step_targets(rewards: Tensor, discounts: Tensor, next_values: Tensor) -> Tensor:
    """Calculates r_t + discount_t · v_{t+1} (Mnih et al. 2016, Algorithm 1).

    Args:
        rewards: r_t [T, B].
        discounts: γ, or 0 after a terminal state [T, B].
        next_values: Value v_{t+1} of the state that follows step t [T, B].

    Returns:
        Targets [T, B].
    """
    return rewards + discounts * next_values


def implied_action_values(log_probabilities: Tensor, entropies: Tensor, values: Tensor, temperature: float) -> Tensor:
    """Calculates Q̃(s, a) = α (log π(a|s) + H(π(·|s))) + V(s) (O'Donoghue et al. 2017, from their eq. 4).

    These are the action values Q^π where the policy gradient with an entropy bonus of weight α has converged. For any
    policy their mean over it is V.

    Args:
        log_probabilities: log π(a|s) of an action [...].
        entropies: H(π(·|s)) [...].
        values: V(s) [...].
        temperature: α.

    Returns:
        Q̃(s, a) [...].
    """
    return temperature * (log_probabilities + entropies) + values
