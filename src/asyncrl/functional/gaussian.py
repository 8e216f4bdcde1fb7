"""The Gaussian distribution over D continuous actions, with covariance σ²I (Mnih et al. 2016, Supplement 9)."""

import math

import torch
from torch import Tensor


def log_probability(mean: Tensor, variance: Tensor, actions: Tensor) -> Tensor:
    """Calculates the log density [...] of actions [..., D] for mean [..., D] and variance σ² [...]."""
    squares = (actions - mean).square().sum(-1)
    return -0.5 * (squares / variance + mean.shape[-1] * (math.log(2 * math.pi) + variance.log()))


def entropy(variance: Tensor, dimensions: int) -> Tensor:
    """Calculates the differential entropy D/2 (log 2πσ² + 1) [...] in nats for variance σ² [...]; may be negative."""
    return 0.5 * dimensions * ((2 * math.pi * variance).log() + 1)


def kl_divergence(mean: Tensor, variance: Tensor, other_mean: Tensor, other_variance: Tensor) -> Tensor:
    """Calculates KL(one || other) = ½ (D (σ₁²/σ₂² - 1 - log σ₁²/σ₂²) + |μ₁ - μ₂|² / σ₂²) [...] in nats.

    Args:
        mean: μ₁ [..., D].
        variance: σ₁² [...].
        other_mean: μ₂ [..., D].
        other_variance: σ₂² [...].
    """
    ratio = variance / other_variance
    squares = (mean - other_mean).square().sum(-1)
    return 0.5 * (mean.shape[-1] * (ratio - 1 - ratio.log()) + squares / other_variance)


def sample(mean: Tensor, variance: Tensor, generator: torch.Generator) -> Tensor:
    """Draws actions [..., D] for mean [..., D] and variance σ² [...]."""
    return sample_from(mean, variance, torch.empty_like(mean).normal_(generator=generator))


def sample_from(mean: Tensor, variance: Tensor, noise: Tensor) -> Tensor:
    """Returns the actions [..., D] that standard normal noise [..., D] selects for mean [..., D] and variance [...]."""
    return mean + variance.sqrt().unsqueeze(-1) * noise
