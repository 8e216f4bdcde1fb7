"""What all methods with action values share: workers that act ε-greedily."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncrl import functional as F
from asyncrl.algorithms.base import DISCOUNTS, Algorithm, Explorer, check_persistence, check_rollouts
from asyncrl.errors import UserError
from asyncrl.search_ranges import Around, ShareOfSteps, searched
from asyncrl.types import Outputs, Progress, WorkerInfo

if TYPE_CHECKING:
    import torch
    from gymnasium.spaces import Space
    from torch import Tensor

    from asyncrl.networks.assemble import Network
    from asyncrl.networks.heads import Head


@dataclass(frozen=True)
class EpsilonGreedy(Algorithm):
    """Action values Q, the output of the head `q`, and workers that act ε-greedily.

    The paper's final ε are drawn for each worker. Deviation: a worker with several environments draws one for each of
    them, so that few workers explore in as many ways as many do; with one environment per worker it is the paper's.
    """

    rollout_length: int = searched(5, Around(4))
    """Steps of each environment whose gradients make one update [I_AsyncUpdate; t_max of n-step Q]."""
    discount: float = searched(0.99, DISCOUNTS)
    """How much a reward one step later is worth [γ]."""
    final_epsilons: tuple[float, ...] = (0.1, 0.01, 0.5)
    """Share of random actions at the end: one of these for each environment [ε]."""
    epsilon_probabilities: tuple[float, ...] = ()
    """How often each final share is drawn; empty: all as often. The paper has 0.4 0.3 0.3."""
    epsilon_spread: float | None = None
    """Give every environment of the run a final share of its own, spread from ε down to ε^(1 + this number) as in
    Ape-X (Horgan et al. 2018), which has 7 and an ε of 0.4. --final-epsilons then takes this one ε."""
    exploration_steps: int = searched(4_000_000, ShareOfSteps(0.05, 0.5))
    """Global steps in which the share of random actions falls from 1 to its final value."""
    exploration_persistence: float = 0.0
    """Probability that a random action is repeated at the next step (Dabney et al. 2021). The paper has 0."""

    def __post_init__(self) -> None:
        check_rollouts(self.rollout_length, self.discount)
        check_persistence(self.exploration_persistence)
        if self.exploration_steps < 1:
            raise UserError(f"--exploration-steps must be at least 1, not {self.exploration_steps}")
        if not self.final_epsilons or not all(0 <= epsilon <= 1 for epsilon in self.final_epsilons):
            raise UserError("--final-epsilons takes numbers in [0, 1], such as 0.1 0.01 0.5")
        probabilities = self.epsilon_probabilities
        if probabilities and (len(probabilities) != len(self.final_epsilons) or min(probabilities) <= 0):
            raise UserError("--epsilon-probabilities takes one positive number for each of --final-epsilons")
        if self.epsilon_spread is not None:
            if not 0 < self.epsilon_spread < float("inf"):
                raise UserError(f"--epsilon-spread must be positive, not {self.epsilon_spread}")
            if len(self.final_epsilons) > 1:
                raise UserError("--epsilon-spread takes one ε and spreads it: add --final-epsilons 0.4")

    @property
    def explores(self) -> bool:
        """Workers take more random actions than the trained agent."""
        return True

    def explorer(self, network: Network, worker: WorkerInfo, random: torch.Generator) -> Explorer:
        """ε-greedy, ε falling from 1 to a final value of each environment's own."""
        final = self._final_epsilons(worker, random)

        def epsilon(progress: Progress) -> Tensor:
            return 1 + (final - 1) * F.schedules.linear(0.0, 1.0, progress.steps, self.exploration_steps)

        if self.exploration_persistence:
            from asyncrl.algorithms.exploring import PersistentEpsilonGreedy

            return PersistentEpsilonGreedy(epsilon, worker.environments, self.exploration_persistence, random)
        return lambda outputs, progress: F.exploration.epsilon_greedy(outputs["q"], epsilon(progress), random)

    def _final_epsilons(self, worker: WorkerInfo, random: torch.Generator) -> Tensor:
        """Of the worker's environments [B]."""
        import torch

        if self.epsilon_spread is not None:
            every = F.exploration.spread_epsilons(
                self.final_epsilons[0], self.epsilon_spread, worker.workers * worker.environments
            )
            return every.view(worker.environments, worker.workers)[:, worker.number]  # each worker has all sizes
        probabilities = torch.tensor(self.epsilon_probabilities or (1.0,) * len(self.final_epsilons))
        drawn = torch.multinomial(probabilities, worker.environments, replacement=True, generator=random)
        return torch.tensor(self.final_epsilons)[drawn]

    def act(self, network: Network, outputs: Outputs, random: torch.Generator) -> Tensor:
        """ε-greedy actions with the smallest of the final ε."""
        import torch

        smallest = min(self.final_epsilons) ** (1 + (self.epsilon_spread or 0.0))
        return F.exploration.epsilon_greedy(outputs["q"], torch.tensor(smallest), random)

    def act_greedily(self, network: Network, outputs: Outputs) -> Tensor:
        """Actions of the highest value."""
        return outputs["q"].argmax(-1)


@dataclass(frozen=True)
class ActionValues(EpsilonGreedy):
    """Action values of a head that may be dueling."""

    dueling: bool = False
    """Q = V + A - mean A (dueling network)."""

    def heads(self, action_space: Space[Any]) -> Mapping[str, Head]:
        """Action values."""
        from asyncrl.networks.action_values import action_value_head

        return {"q": action_value_head(action_space, self.dueling)}
