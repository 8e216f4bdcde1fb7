"""Observations shifted and scaled by their running statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium.spaces import Box, Dict, Space
from torch import Tensor, nn

from asyncrl.functional.moments import Moments
from asyncrl.networks.torso import is_image
from asyncrl.types import LAST_ACTION, LAST_REWARD

LIMIT = 10.0
"""Normalised observations are clipped to ± this many deviations."""
SMALLEST_DEVIATION = 1e-2
"""Of a component that hardly changes."""


class Normalizer(nn.Module):
    """(x - mean) / deviation of each component of the observations that are not images; images are left alone.

    The statistics are buffers: they are set from outside (`set`), saved with the agent, and nothing changes them in
    evaluation.
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
        """Components in all [D]."""
        return sum(self.sizes.values())

    def set(self, moments: Moments) -> None:
        """Takes over statistics of D components."""
        self.mean.copy_(moments.mean)
        self.deviation.copy_(moments.deviation.clamp(min=SMALLEST_DEVIATION))

    def vectors(self, observations: Any) -> Tensor:
        """What is normalised, side by side: observations [N, ...] give [N, D]."""
        if not isinstance(observations, Mapping):
            return observations.flatten(1).to(torch.float32)  # type: ignore[no-any-return]
        return torch.cat([observations[key].flatten(1).to(torch.float32) for key in self.sizes], -1)

    def forward(self, observations: Any) -> Any:
        """Observations [N, ...] of the same form, normalised."""
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
