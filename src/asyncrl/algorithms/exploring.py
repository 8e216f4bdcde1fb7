"""Exploration that remembers: workers whose randomness persists from one step to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from asyncrl import functional as F
from asyncrl.types import Outputs, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from asyncrl.networks.heads import PolicyHead


@runtime_checkable
class RememberingExplorer(Protocol):
    """An explorer whose next actions depend on what it did before. Serial runs save `memory` in their checkpoints."""

    memory: Tensor

    def __call__(self, outputs: Outputs, progress: Progress) -> Tensor:
        """Actions [1, B, ...] for the heads' outputs [1, B, ...] and the run's progress."""
        ...


class PersistentEpsilonGreedy:
    """ε-greedy actions of B environments, with random actions that are repeated."""

    def __init__(
        self, epsilon: Callable[[Progress], Tensor], environments: int, persistence: float, random: torch.Generator
    ) -> None:
        self.epsilon, self.persistence, self.random = epsilon, persistence, random
        self.memory = torch.full((environments,), F.exploration.NOTHING)  # what is repeated [B]

    def __call__(self, outputs: Outputs, progress: Progress) -> Tensor:
        """Chooses actions [1, B]."""
        actions, repeated = F.exploration.persistent_epsilon_greedy(
            outputs["q"], self.epsilon(progress), self.memory.unsqueeze(0), self.persistence, self.random
        )
        self.memory = repeated[0]
        return actions


class CorrelatedSampling:
    """Actions of B environments drawn from the policy, with noise that is correlated from step to step."""

    def __init__(self, head: PolicyHead, environments: int, correlation: float, random: torch.Generator) -> None:
        self.head, self.correlation, self.random = head, correlation, random
        self.memory = torch.empty(environments, head.components).normal_(generator=random)  # the last noise [B, D]

    def __call__(self, outputs: Outputs, progress: Progress) -> Tensor:
        """Draws actions [1, B, ...]."""
        self.memory = F.exploration.correlated_noise(self.memory, self.correlation, self.random)
        return self.head.sample_from(outputs["policy"], self.memory.unsqueeze(0))
