"""What auxiliary tasks predict and control (Jaderberg et al. 2017, §3)."""

import torch
from torch import Tensor

from asyncrl.functional.returns import n_step_returns

ZERO, POSITIVE, NEGATIVE = range(3)
"""Classes of rewards."""


def cell_means(images: Tensor, cell: int) -> Tensor:
    """Averages images over square cells.

    Args:
        images: Intensities [..., H, W, C]; H and W are multiples of the cell's side.
        cell: Side of a cell, in pixels.

    Returns:
        Means [..., H / cell, W / cell, C].
    """
    *leading, height, width, channels = images.shape
    return images.reshape(*leading, height // cell, cell, width // cell, cell, channels).mean((-4, -2))


def pixel_change(images: Tensor, cell: int) -> Tensor:
    """Calculates the pseudo-rewards of pixel control: the mean absolute change of the intensities in each cell.

    Args:
        images: Intensities of successive images [T+1, B, H, W, C].
        cell: Side of a cell, in pixels.

    Returns:
        Changes by each step [T, B, H / cell, W / cell], averaged over pixels and channels.
    """
    return cell_means((images[1:] - images[:-1]).abs().mean(-1, keepdim=True), cell).squeeze(-1)


def reward_classes(rewards: Tensor) -> Tensor:
    """Returns the class of each reward, int64 [...]: `ZERO`, `POSITIVE` or `NEGATIVE`."""
    return torch.where(rewards > 0, POSITIVE, torch.where(rewards < 0, NEGATIVE, ZERO))


def cut_returns(rewards: Tensor, discounts: Tensor, values: Tensor, valid: Tensor, cuts: Tensor) -> Tensor:
    """Calculates n-step returns over two windows, which meet at a time of their own in each sequence.

    The window before the cut bootstraps from V there, the one after it from V after the last step. Cuts that are drawn
    at random vary where returns are truncated, as value replay asks for.

    Args:
        rewards: r_t [T, B].
        discounts: γ, or 0 after a terminal state [T, B].
        values: V(s_t) [T+1, B]; no gradient flows through them.
        valid: Bool [T, B], false on the dummy step after an episode's end.
        cuts: Int64 [B] from 0 to T; 0 and T leave one window.

    Returns:
        G_t [T, B], detached.
    """
    times = torch.arange(len(rewards)).unsqueeze(-1)
    before = n_step_returns(rewards, discounts, values, valid & (times != cuts))
    return torch.where(times < cuts, before, n_step_returns(rewards, discounts, values, valid))


def control_targets(pseudo_rewards: Tensor, discounts: Tensor, action_values: Tensor, valid: Tensor) -> Tensor:
    """Calculates n-step Q-learning targets of many pseudo-rewards at once: R + γⁿ max_a Q(s_{t+n}, a).

    Args:
        pseudo_rewards: [T, B, ...], one for each of the controlled quantities.
        discounts: Of the pseudo-rewards, or 0 after a terminal state [T, B].
        action_values: Q of each quantity [T+1, B, ..., A]; no gradient flows through them.
        valid: Bool [T, B], false on the dummy step after an episode's end.

    Returns:
        [T, B, ...], detached.
    """
    alike = (..., *[None] * (pseudo_rewards.dim() - discounts.dim()))
    return n_step_returns(pseudo_rewards, discounts[alike], action_values.amax(-1), valid[alike])
