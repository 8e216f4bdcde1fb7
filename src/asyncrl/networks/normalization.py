"""Normalises observations by their running mean and standard deviation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium.spaces import Box, Dict, Space
from torch import Tensor, nn

from asyncrl.functional.moments import Moments
from asyncrl.networks.images import is_image
from asyncrl.types import LAST_ACTION, LAST_REWARD

LIMIT = 10.0
"""Normalised observations are clipped to ± this many standard deviations."""
SMALLEST_DEVIATION = 1e-2
"""Lower bound of the standard deviation, for components that hardly change."""


class Normalizer(nn.Module):
    """Computes (x - mean) / deviation for each component of observations that are not images; images pass unchanged.

    Mean and deviation are buffers, so they are saved with the agent. The worker sets them (`set`); evaluation leaves
    them as they are.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, space: Space[Any]) -> None:
        super().__init__()
        self.sizes = dict(_vector_sizes(space))
        self.register_buffer("mean", torch.zeros(sum(self.sizes.values())))
        self.register_buffer("deviation", torch.ones(sum(self.sizes.values())))

    @property
    def size(self) -> int:
        """Number of normalised components [D]."""
        return sum(self.sizes.values())

    def set(self, moments: Moments) -> None:
        """Sets mean and deviation from the moments of D components."""
        self.mean.copy_(moments.mean)
        self.deviation.copy_(moments.deviation.clamp(min=SMALLEST_DEVIATION))

    def vectors(self, observations: Any) -> Tensor:
        """Concatenates all normalised components of observations [N, ...] to vectors [N, D]."""
        if not isinstance(observations, Mapping):
            return observations.flatten(1).to(torch.float32)  # type: ignore[no-any-return]
        return torch.cat([observations[key].flatten(1).to(torch.float32) for key in self.sizes], -1)

    def forward(self, observations: Any) -> Any:
        """Returns observations [N, ...] in the form they came in, normalised."""
        normal = ((self.vectors(observations) - self.mean) / self.deviation).clamp_(-LIMIT, LIMIT)
        if not isinstance(observations, Mapping):
            return normal
        parts = torch.split(normal, list(self.sizes.values()), -1)
        return {**observations, **dict(zip(self.sizes, parts, strict=True))}


def _vector_sizes(space: Space[Any]) -> Any:
    if isinstance(space, Dict):
        for key, part in space.spaces.items():
            if key not in (LAST_ACTION, LAST_REWARD):
                yield from ((key, size) for _, size in _vector_sizes(part))
    elif isinstance(space, Box) and not is_image(space):
        yield "", math.prod(space.shape)
