"""Exploration: choosing actions other than the ones of highest value."""

import torch
from torch import Tensor

from asyncrl.functional.masking import is_allowed


def epsilon_greedy(values: Tensor, epsilon: Tensor, generator: torch.Generator) -> Tensor:
    """Chooses a uniformly random action with probability ε, and otherwise the action of highest value.

    Args:
        values: Q(s, a) [..., B, A]. Actions that `masking.masked` forbids are never chosen.
        epsilon: Probability ε of a random action [B].
        generator: Source of the random choices.

    Returns:
        Actions, int64 [..., B].
    """
    explore = torch.rand(values.shape[:-1], generator=generator) < epsilon
    draws = torch.rand(values.shape, generator=generator)
    anything = torch.where(is_allowed(values), draws, -1.0).argmax(-1)
    return torch.where(explore, anything, values.argmax(-1))
