"""Masks: which actions an environment allows in a state."""

import torch
from torch import Tensor

FORBIDDEN = torch.finfo(torch.float32).min
"""Logit or action value of an action that is not allowed: finite, so that 0 · log 0 in an entropy is 0 and not NaN."""


def masked(preferences: Tensor, mask: Tensor | None) -> Tensor:
    """Puts `FORBIDDEN` in the place of the logits or action values of actions that are not allowed.

    A softmax then gives these actions probability 0 exactly and no gradient (Huang & Ontañón 2022), and no maximum
    over action values takes one of them.

    Args:
        preferences: Logits or action values [..., A].
        mask: [..., A], zero where an action is not allowed. None allows all actions.

    Returns:
        [..., A].
    """
    return preferences if mask is None else preferences.masked_fill(mask == 0, FORBIDDEN)


def is_allowed(preferences: Tensor) -> Tensor:
    """Returns which actions `masked` left as they were, bool [..., A], for its result [..., A]."""
    return preferences > FORBIDDEN
