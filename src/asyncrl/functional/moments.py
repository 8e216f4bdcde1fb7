"""Mean and variance of a stream that is seen in parts, and of several such streams together (Chan et al. 1979)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Moments:
    """Of N vectors: their number, mean and sum of squared deviations from it, in float64."""

    count: Tensor  # []
    mean: Tensor  # [D]
    squares: Tensor  # [D]

    @property
    def deviation(self) -> Tensor:
        """Standard deviation [D]; 1 before anything was seen."""
        if not self.count:
            return torch.ones_like(self.mean)
        return (self.squares / self.count).sqrt()

    def __add__(self, other: Moments) -> Moments:
        """Those of both streams together."""
        count = self.count + other.count
        if not count:
            return self
        shift = other.mean - self.mean
        return Moments(
            count,
            self.mean + shift * (other.count / count),
            self.squares + other.squares + shift.square() * (self.count * other.count / count),
        )


def moments_of(vectors: Tensor) -> Moments:
    """The moments of vectors [N, D]."""
    vectors = vectors.to(torch.float64)
    mean = vectors.mean(0)
    count = torch.tensor(float(len(vectors)), dtype=torch.float64)
    return Moments(count, mean, (vectors - mean).square().sum(0))
