"""Heads: from features [T, B, F] to what an algorithm needs, and the distribution that a policy head parametrises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from gymnasium.spaces import Discrete, Space
from torch import Tensor, nn

from asyncrl.errors import UserError
from asyncrl.functional import categorical

HeadFactory = Callable[[int], nn.Module]
"""Makes a head for a number of features."""


class PolicyHead(Protocol):
    """A head whose output, the parameters of a distribution over actions, can be drawn from and scored."""

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Actions [...] drawn from the distributions."""
        ...

    def mode(self, parameters: Tensor) -> Tensor:
        """Each distribution's most probable action [...]."""
        ...

    def log_probability(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log π(a) [...]."""
        ...

    def entropy(self, parameters: Tensor) -> Tensor:
        """H(π) in nats [...]."""
        ...


class CategoricalHead(nn.Linear):
    """Logits [..., A] of a categorical policy."""

    sample = staticmethod(categorical.sample)
    mode = staticmethod(categorical.mode)
    log_probability = staticmethod(categorical.log_probability)
    entropy = staticmethod(categorical.entropy)


class ValueHead(nn.Linear):
    """State value [...]."""

    def __init__(self, input_size: int) -> None:
        super().__init__(input_size, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Features [..., F] give V(s) [...]."""
        return super().forward(features).squeeze(-1)


def policy_head(space: Space[Any]) -> HeadFactory:
    """The policy head that fits an action space.

    Raises:
        UserError: No policy for such actions exists.
    """
    if isinstance(space, Discrete):
        actions = int(space.n)
        return lambda features: CategoricalHead(features, actions)
    raise UserError(f"the action space {space} is not supported: agents here take Discrete actions")
