"""Exploration: choosing actions other than the ones of highest value."""

import torch
from torch import Tensor


def epsilon_greedy(values: Tensor, epsilon: Tensor, generator: torch.Generator) -> Tensor:
    """Chooses a uniformly random action with probability ε, and otherwise the action of highest value.

    Args:
        values: Q(s, a) [..., B, A].
        epsilon: Probability ε of a random action [B].
        generator: Source of the random choices.

    Returns:
        Actions, int64 [..., B].
    """
    shape = values.shape[:-1]
    explore = torch.rand(shape, generator=generator) < epsilon
    anything = torch.randint(values.shape[-1], shape, generator=generator)
    return torch.where(explore, anything, values.argmax(-1))
