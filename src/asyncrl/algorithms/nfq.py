"""Neural fitted Q iteration, NFQ (Riedmiller 2005), also with Lin's networks, one for each action (Lin 1993)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from asyncrl import functional as F
from asyncrl.algorithms.base import check_counts, check_replay, statistics
from asyncrl.algorithms.epsilon_greedy import EpsilonGreedy
from asyncrl.errors import UserError
from asyncrl.memory.fitted import Fit, FitRules, FittedMemory, bytes_per_transition
from asyncrl.search_ranges import Around, searched
from asyncrl.tree import tree_map
from asyncrl.types import Loss, WorkerInfo

if TYPE_CHECKING:
    from gymnasium.spaces import Space
    from torch import Tensor

    from asyncrl.networks.assemble import Network, Networks
    from asyncrl.networks.heads import Head

NONE, TERMINAL = "none", "terminal"
"""Values of `hint_to_goal` that are no import paths."""


@dataclass(frozen=True)
class NFQ(EpsilonGreedy):
    """After each rollout, fits Q to r + γ max_b Q_k(s', b) over all transitions so far, Q_k being Q before the fit.

    The fit has many epochs, each one update from the whole batch, and is made for --optimizer rprop.

    Deviation: the network gives the values of all actions at once. The paper's takes the action as an input.
    Deviation: rewards are maximised, and the last layer is linear. The paper minimises costs, and has a sigmoid there.
    """

    rollout_length: int = searched(50, Around(4))
    """Steps of each environment between two rounds of learning. With --episode-rollouts a round follows each episode,
    as in the paper, and this is the most steps between two."""
    separate_actions: bool = False
    """Give each action a network of its own (Lin 1993)."""
    iterations: int = 1
    """Number of fits after each rollout, each with new targets."""
    epochs: int = searched(100, Around(4))
    """Number of updates in a fit, each from all transitions."""
    hint_to_goal: str = "none"
    """Artificial patterns that pin the values of some observations, for all actions. terminal: those in which episodes
    have terminated. module:function: those that a function of yours returns."""
    goal_value: float = 0.0
    """Value of the observations of --hint-to-goal module:function, counted in rewards as they are learned from."""
    replay_capacity: int = 50_000
    """Number of steps that all workers keep together and learn from at once."""
    replay_start: int = 100
    """Number of steps, over all workers, that are collected before learning begins."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "iterations", "epochs", "replay_capacity", "replay_start")
        check_replay(self.replay_capacity, self.replay_start)
        if self.hint_to_goal not in (NONE, TERMINAL) and ":" not in self.hint_to_goal:
            raise UserError(f"--hint-to-goal takes none, terminal or module:function, not {self.hint_to_goal!r}")
        if self.goal_value and ":" not in self.hint_to_goal:
            raise UserError(
                f"--goal-value {self.goal_value:g} needs --hint-to-goal module:function: terminal states are worth 0"
            )
        if self.discount == 0 and self.hint_to_goal == TERMINAL:
            raise UserError("--hint-to-goal terminal needs a --discount above 0, which tells terminal states")

    @property
    def explores(self) -> bool:
        """Workers act as the trained agent does if all final ε are 0, as in the paper."""
        return max(self.final_epsilons) > 0

    def heads(self, action_space: Space[Any]) -> Mapping[str, Head]:
        """Action values."""
        from asyncrl.networks.action_values import action_value_head, separate_action_value_head

        if self.separate_actions:
            head = separate_action_value_head(action_space)
        else:
            head = action_value_head(action_space, dueling=False)
        return {"q": replace(head, stateless=True)}

    def make_memory(self, worker: WorkerInfo) -> FittedMemory:
        """The worker's share of all transitions."""
        rules = FitRules(
            capacity=self.replay_capacity // worker.workers,
            start=self.replay_start // worker.workers,
            iterations=self.iterations,
            epochs=self.epochs,
            terminal_hints=self.hint_to_goal == TERMINAL,
        )
        return FittedMemory(rules, worker, self._goal(worker))

    def memory_bytes(self, worker: WorkerInfo) -> int:
        """Room that the worker's share takes when it is full.

        Raises:
            UserError: The hints are not what they should be.
        """
        self._goal(worker)
        space = worker.environment.observation_space
        return self.replay_capacity // worker.workers * bytes_per_transition(space)

    def _goal(self, worker: WorkerInfo) -> Any:
        """The observations of `hint_to_goal` that do not come from episodes."""
        if ":" not in self.hint_to_goal:
            return None
        from asyncrl.memory.goal_hints import goal_observations

        return goal_observations(self.hint_to_goal, worker.environment.observation_space)

    def loss(self, networks: Networks, experience: Fit) -> Loss:
        """The mean squared error over all transitions and hints."""
        import torch

        fit, network, begins = experience, networks.online, experience.targets is None
        if fit.targets is None:
            with torch.no_grad():
                best = _values(network, fit.following).amax(-1)
            fit.targets = F.value_learning.one_step_targets(fit.rewards, fit.discounts, best)
        chosen = F.value_learning.taken(_values(network, fit.observations), fit.actions)  # [N]
        errors = F.value_learning.squared_error(chosen, fit.targets)
        pinned = self._hint_errors(network, fit.hints)
        return Loss(
            total=torch.cat([errors, pinned]).mean(),
            statistics=statistics(torch.ones_like(errors), chosen, fit.targets, {"value_loss": errors}),
            restart=begins,
        )

    def _hint_errors(self, network: Network, hints: Any) -> Tensor:
        """Squared errors of the hints' values [K], one for each allowed action of each of them."""
        import torch

        if hints is None:
            return torch.zeros(0)
        values = _values(network, hints)
        values = values[F.masking.is_allowed(values)]
        return F.value_learning.squared_error(values, torch.full_like(values, self.goal_value))


def _values(network: Network, observations: Any) -> Tensor:
    """Q(s, ·) [N, A] of observations [N, ...]."""
    import torch

    sequence = tree_map(lambda rows: rows.unsqueeze(0), observations)  # of one step
    some = next(iter(observations.values())) if isinstance(observations, Mapping) else observations
    values: Tensor = network(sequence, (), torch.zeros(1, len(some), dtype=torch.bool))[0]["q"]
    return values[0]
