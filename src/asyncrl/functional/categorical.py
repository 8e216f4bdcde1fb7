"""The categorical distribution over A actions, given by unnormalised log-probabilities."""

import torch
from torch import Tensor


def log_probability(logits: Tensor, actions: Tensor) -> Tensor:
    """Log π(a): logits [..., A] and integer actions [...] give [...]."""
    return torch.log_softmax(logits, -1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def entropy(logits: Tensor) -> Tensor:
    """H(π) = -Σ_a π(a) log π(a) in nats: logits [..., A] give [...]."""
    log_probabilities = torch.log_softmax(logits, -1)
    return -(log_probabilities.exp() * log_probabilities).sum(-1)


def sample(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draws a ~ π by racing exponential clocks, argmax_a π(a)/E_a: logits [..., A] give int64 [...]."""
    noise = torch.empty_like(logits).exponential_(generator=generator)
    return torch.softmax(logits, -1).div_(noise).argmax(-1)


def mode(logits: Tensor) -> Tensor:
    """The most probable action: logits [..., A] give int64 [...]."""
    return logits.argmax(-1)
