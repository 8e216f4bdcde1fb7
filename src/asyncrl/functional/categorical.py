"""The categorical distribution over A actions, given by unnormalised log-probabilities."""

import torch
from torch import Tensor


def log_probability(logits: Tensor, actions: Tensor) -> Tensor:
    """Calculates log π(a) [...] of integer actions [...] for logits [..., A]."""
    return torch.log_softmax(logits, -1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def entropy(logits: Tensor) -> Tensor:
    """Calculates the entropy H(π) = -Σ_a π(a) log π(a) [...] in nats for logits [..., A]."""
    log_probabilities = torch.log_softmax(logits, -1)
    return -(log_probabilities.exp() * log_probabilities).sum(-1)


def kl_divergence(one: Tensor, other: Tensor) -> Tensor:
    """Calculates KL(one || other) = Σ_a π₁(a) (log π₁(a) - log π₂(a)) [...] in nats for logits [..., A] of each."""
    first, second = torch.log_softmax(one, -1), torch.log_softmax(other, -1)
    return (first.exp() * (first - second)).sum(-1)


def sample(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draws actions a ~ π, int64 [...], for logits [..., A].

    With independent exponential variables E_a, argmax_a π(a)/E_a has the distribution π.
    """
    noise = torch.empty_like(logits).exponential_(generator=generator)
    return torch.softmax(logits, -1).div_(noise).argmax(-1)


def sample_from(logits: Tensor, noise: Tensor) -> Tensor:
    """Returns the actions, int64 [...], that standard normal noise x [...] selects for logits [..., A].

    The action is the smallest a whose cumulative probability exceeds Φ(x), so its distribution is π.
    """
    cumulative = torch.softmax(logits, -1).cumsum(-1)
    quantile = torch.special.ndtr(noise).clamp(max=1 - 2**-24).unsqueeze(-1)  # below 1, which no action exceeds
    actions: Tensor = (quantile * cumulative[..., -1:] >= cumulative).sum(-1)
    return actions


def mode(logits: Tensor) -> Tensor:
    """Returns the most probable actions, int64 [...], for logits [..., A]."""
    return logits.argmax(-1)
