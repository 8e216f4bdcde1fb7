"""Mean and variance of a stream of vectors, computed in parts that are then combined (Chan et al. 1979)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Moments:
    """Number, mean and sum of squared deviations of N vectors, in float64."""

    count: Tensor  # [], N
    mean: Tensor  # [D]
    squares: Tensor  # [D], sum of squared deviations from the mean

    @property
    def variance(self) -> Tensor:
        """Variance [D]; 1 if there are no vectors."""
        return self.squares / self.count if self.count else torch.ones_like(self.mean)

    @property
    def deviation(self) -> Tensor:
        """Standard deviation [D]; 1 if there are no vectors."""
        return self.variance.sqrt()

    def __add__(self, other: Moments) -> Moments:
        """The moments of both sets of vectors together."""
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
    """Calculates the moments of vectors [N, D]."""
    vectors = vectors.to(torch.float64)
    mean = vectors.mean(0)
    count = torch.tensor(float(len(vectors)), dtype=torch.float64)
    return Moments(count, mean, (vectors - mean).square().sum(0))
