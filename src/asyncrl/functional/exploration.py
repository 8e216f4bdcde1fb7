"""Exploration: random actions, and randomness that persists for several steps."""

import torch
from torch import Tensor

from asyncrl.functional.masking import is_allowed


def epsilon_greedy(values: Tensor, epsilon: Tensor, generator: torch.Generator) -> Tensor:
    """Chooses a uniformly random action with probability ε, and otherwise the action of highest value.

    Args:
        values: Q(s, a) [..., B, A]. Actions that `masking.masked` forbids are never chosen.
        epsilon: Probability ε of a random action [B].
        generator: Source of the random choices.

    Returns:
        Actions, int64 [..., B].
    """
    explore = torch.rand(values.shape[:-1], generator=generator) < epsilon
    return torch.where(explore, _any_allowed(values, generator), values.argmax(-1))


def spread_epsilons(epsilon: float, spread: float, count: int) -> Tensor:
    """A share of random actions for each of N environments, ε^(1 + α i / (N - 1)) (Horgan et al. 2018, Ape-X, §4.1).

    Args:
        epsilon: The largest share ε.
        spread: α; the smallest share is ε^(1 + α).
        count: Number of environments N.

    Returns:
        Shares in falling order [N]; ε itself if there is only one environment.
    """
    return epsilon ** (1 + spread * torch.arange(count) / max(count - 1, 1))


def _any_allowed(values: Tensor, generator: torch.Generator) -> Tensor:
    """Draws one of the allowed actions, each with the same probability, int64 [..., B]."""
    draws = torch.rand(values.shape, generator=generator)
    return torch.where(is_allowed(values), draws, -1.0).argmax(-1)


NOTHING = -1
"""Stands for no action that is being repeated."""


def persistent_epsilon_greedy(
    values: Tensor, epsilon: Tensor, repeated: Tensor, persistence: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Chooses actions ε-greedily, and repeats a random action with probability p at each step that follows it.

    A random action lasts 1/(1 - p) steps on average (temporally extended ε-greedy exploration with geometric durations;
    Dabney et al. 2021). New ones begin with probability ε (1 - p) / (1 - ε p), so that a share ε of all steps is random
    whatever p is.

    Args:
        values: Q(s, a) [..., B, A]. Actions that `masking.masked` forbids are neither begun nor repeated.
        epsilon: Share ε of random actions [B].
        repeated: Random action of the step before, or `NOTHING` where that was the action of highest value [..., B].
        persistence: Probability p of repeating a random action, less than 1.
        generator: Source of the random choices.

    Returns:
        Actions, int64 [..., B], and what is `repeated` at the next step.
    """
    possible = is_allowed(values).gather(-1, repeated.clamp(min=0).unsqueeze(-1)).squeeze(-1) & (repeated != NOTHING)
    repeat = possible & (torch.rand(repeated.shape, generator=generator) < persistence)
    begins = epsilon * (1 - persistence) / (1 - epsilon * persistence)
    begin = torch.rand(repeated.shape, generator=generator) < begins
    explored = torch.where(repeat, repeated, torch.where(begin, _any_allowed(values, generator), NOTHING))
    return torch.where(explored == NOTHING, values.argmax(-1), explored), explored


def correlated_noise(previous: Tensor, correlation: float, generator: torch.Generator) -> Tensor:
    """Draws standard normal noise whose correlation with the noise of the step before is ρ: ρ x + √(1 - ρ²) ξ.

    Args:
        previous: The noise of the step before, x [...].
        correlation: ρ.
        generator: Source of the noise.
    """
    fresh = torch.empty_like(previous).normal_(generator=generator)
    return previous.mul(correlation).add_(fresh, alpha=(1 - correlation**2) ** 0.5)
