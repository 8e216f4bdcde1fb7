"""Ways to choose actions that are not the best known ones."""

import torch
from torch import Tensor


def epsilon_greedy(values: Tensor, epsilon: Tensor, generator: torch.Generator) -> Tensor:
    """With probability ε any action, each as likely as the others, else the one of highest value.

    Args:
        values: Q(s, a) [..., B, A].
        epsilon: ε [B].
        generator: Of the random choices.

    Returns:
        int64 [..., B].
    """
    shape = values.shape[:-1]
    explore = torch.rand(shape, generator=generator) < epsilon
    anything = torch.randint(values.shape[-1], shape, generator=generator)
    return torch.where(explore, anything, values.argmax(-1))
