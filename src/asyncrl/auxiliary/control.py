"""What the tasks that control a quantity share: Q-learning of many pseudo-rewards at once, off-policy from replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gymnasium.spaces import Discrete, Space

from asyncrl import functional as F
from asyncrl.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from asyncrl.types import Rollout

DISCOUNT = 0.9
"""Of pseudo-rewards [γ]."""


def number_of_actions(space: Space[Any], option: str) -> int:
    """Number of actions of a Discrete space.

    Raises:
        UserError: The space has other actions.
    """
    if not isinstance(space, Discrete):
        raise UserError(f"{option} needs Discrete actions, not {space}: add {option} 0")
    return int(space.n)


def control_losses(
    action_values: Tensor, pseudo_rewards: Tensor, rollout: Rollout, discount: float = DISCOUNT
) -> Tensor:
    """Σ_c (R^(c) + γⁿ max_a Q^(c)(s_{t+n}, a) - Q^(c)(s_t, a_t))² over the controlled quantities c.

    Args:
        action_values: Q of each quantity [T+1, N, ..., A].
        pseudo_rewards: [T, N, ...].
        rollout: T steps of N sequences.
        discount: γ of the pseudo-rewards; an end of an episode ends them too.

    Returns:
        [T, N]; 0 on dummy steps, whose action may be one that was not allowed.
    """
    discounts = discount * (rollout.discounts != 0)
    targets = F.auxiliary.control_targets(pseudo_rewards, discounts, action_values.detach(), rollout.valid)
    alike = (..., *[None] * (pseudo_rewards.dim() - 2))
    taken = F.value_learning.taken(action_values[:-1], rollout.actions[alike].expand_as(targets))
    counted = taken.where(rollout.valid[alike], targets)
    return F.value_learning.squared_error(counted, targets).flatten(2).sum(-1)
