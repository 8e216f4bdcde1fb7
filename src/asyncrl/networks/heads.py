"""Heads: from features [T, B, F] to what an algorithm needs, and the distribution that a policy head parametrises."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from torch import Tensor, nn

from asyncrl.errors import UserError
from asyncrl.functional import categorical, gaussian
from asyncrl.functional.masking import masked


@dataclass(frozen=True)
class Head:
    """How a network makes one of its heads, and when the head is computed."""

    make: Callable[[int], nn.Module]  # from the number of features that it is fed
    fed_by: Literal["core", "torso"] = "core"  # the torso's features have no memory of earlier steps
    acting: bool = True  # false: computed for losses only, so that it costs nothing while acting
    masked: bool = False  # takes a mask of the allowed actions [..., A], or None, as its second argument
    stateless: bool = False  # cannot have a recurrent core
    torsos: int = 1  # more than one: it has so many of its own, side by side (`SideBySide`)
    auxiliary: bool = False  # computed only for losses that ask for it by name; it shapes what other heads are fed


SMALLEST_VARIANCE = 1e-4


class PolicyHead(Protocol):
    """A head whose output, the parameters of a distribution over actions, can be drawn from and scored."""

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Actions [...] drawn from the distributions; [..., D] where they have several components."""
        ...

    @property
    def components(self) -> int:
        """Number of components of an action [D]."""
        ...

    def sample_from(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Actions [...] that standard normal noise [..., D] selects: the same distribution as `sample`."""
        ...

    def mode(self, parameters: Tensor) -> Tensor:
        """Each distribution's most probable action."""
        ...

    def log_probability(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log π(a) [...]."""
        ...

    def entropy(self, parameters: Tensor) -> Tensor:
        """H(π) in nats [...]."""
        ...

    def kl_divergence(self, one: Tensor, other: Tensor) -> Tensor:
        """KL(one || other) in nats [...] of two distributions, each given by its parameters."""
        ...


class Output(nn.Linear):
    """A last layer; `gain` is that of its orthogonal initial weights."""

    def __init__(self, features: int, outputs: int, gain: float = 1.0, bias: bool = True) -> None:
        super().__init__(features, outputs, bias)
        self.gain = gain


POLICY_GAIN = 0.01
"""Makes the first policy almost the same everywhere."""


class CategoricalHead(nn.Module):
    """Logits [..., A] of a categorical policy; actions that a mask forbids have probability 0."""

    def __init__(self, features: int, actions: int) -> None:
        super().__init__()
        self.logits = Output(features, actions, POLICY_GAIN)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features [..., F] give logits [..., A]."""
        return masked(self.logits(features), mask)

    components = 1

    def sample_from(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Actions [...]."""
        return categorical.sample_from(parameters, noise.squeeze(-1))

    sample = staticmethod(categorical.sample)
    mode = staticmethod(categorical.mode)
    log_probability = staticmethod(categorical.log_probability)
    entropy = staticmethod(categorical.entropy)
    kl_divergence = staticmethod(categorical.kl_divergence)


class MultiCategoricalHead(nn.Module):
    """Logits [..., ΣA_k] of K independent categorical distributions; actions are [..., K].

    A mask has the same shape as the logits: it forbids choices of single components.
    """

    def __init__(self, features: int, choices: tuple[int, ...]) -> None:
        super().__init__()
        self.choices, self.components = choices, len(choices)
        self.logits = Output(features, sum(choices), POLICY_GAIN)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features [..., F] give logits [..., ΣA_k]."""
        return masked(self.logits(features), mask)

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Actions [..., K]."""
        return torch.stack([categorical.sample(part, generator) for part in self._parts(parameters)], -1)

    def sample_from(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Actions [..., K]."""
        pairs = zip(self._parts(parameters), noise.unbind(-1), strict=True)
        return torch.stack([categorical.sample_from(part, column) for part, column in pairs], -1)

    def mode(self, parameters: Tensor) -> Tensor:
        """Actions [..., K]."""
        return torch.stack([categorical.mode(part) for part in self._parts(parameters)], -1)

    def log_probability(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Σ_k log π_k(a_k) [...]."""
        pairs = zip(self._parts(parameters), actions.unbind(-1), strict=True)
        return torch.stack([categorical.log_probability(part, chosen) for part, chosen in pairs]).sum(0)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Σ_k H(π_k) [...]."""
        return torch.stack([categorical.entropy(part) for part in self._parts(parameters)]).sum(0)

    def kl_divergence(self, one: Tensor, other: Tensor) -> Tensor:
        """Σ_k KL of the components [...]."""
        pairs = zip(self._parts(one), self._parts(other), strict=True)
        return torch.stack([categorical.kl_divergence(part, same) for part, same in pairs]).sum(0)

    def _parts(self, parameters: Tensor) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = torch.split(parameters, list(self.choices), -1)
        return parts


class GaussianHead(nn.Module):
    """Mean [D] and scalar variance of a Gaussian policy, both depending on the state: [..., D+1], the variance last.

    The mean is linear, the variance a SoftPlus (Mnih et al. 2016, Supplement 9). Actions [..., D] are not bounded here.

    Deviation: 1e-4 is added to the variance, without which a policy that is sure of itself divides by zero.
    """

    def __init__(self, features: int, dimensions: int) -> None:
        super().__init__()
        self.components = dimensions
        self.mean = Output(features, dimensions, POLICY_GAIN)
        self.variance = Output(features, 1, POLICY_GAIN)

    def forward(self, features: Tensor) -> Tensor:
        """Features [..., F] give [..., D+1]."""
        variance = nn.functional.softplus(self.variance(features)) + SMALLEST_VARIANCE
        return torch.cat([self.mean(features), variance], -1)

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Actions [..., D]."""
        return gaussian.sample(parameters[..., :-1], parameters[..., -1], generator)

    def sample_from(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Actions [..., D]."""
        return gaussian.sample_from(parameters[..., :-1], parameters[..., -1], noise)

    def mode(self, parameters: Tensor) -> Tensor:
        """The means [..., D]."""
        return parameters[..., :-1]

    def log_probability(self, parameters: Tensor, actions: Tensor) -> Tensor:
        """Log density of actions as they were drawn [...]."""
        return gaussian.log_probability(parameters[..., :-1], parameters[..., -1], actions)

    def entropy(self, parameters: Tensor) -> Tensor:
        """Differential entropy [...]."""
        return gaussian.entropy(parameters[..., -1], self.components)

    def kl_divergence(self, one: Tensor, other: Tensor) -> Tensor:
        """KL(one || other) [...]."""
        return gaussian.kl_divergence(one[..., :-1], one[..., -1], other[..., :-1], other[..., -1])


class ValueHead(nn.Module):
    """State value [...]."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.value = Output(features, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Features [..., F] give V(s) [...]."""
        value: Tensor = self.value(features)
        return value.squeeze(-1)


def policy_head(space: Space[Any]) -> Head:
    """The policy head that fits an action space.

    Raises:
        UserError: No policy for such actions exists.
    """
    if isinstance(space, Discrete):
        actions = int(space.n)
        return Head(lambda features: CategoricalHead(features, actions), masked=True)
    if isinstance(space, MultiDiscrete):
        choices = tuple(int(n) for n in space.nvec)
        return Head(lambda features: MultiCategoricalHead(features, choices), masked=True)
    if isinstance(space, Box):
        dimensions = math.prod(space.shape)
        return Head(lambda features: GaussianHead(features, dimensions))
    raise UserError(f"there is no policy for the action space {space}")
