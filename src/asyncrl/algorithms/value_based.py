"""What asynchronous 1-step Q, 1-step Sarsa and n-step Q share: ε-greedy workers and a shared target network θ⁻."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from asyncrl import functional as F
from asyncrl.algorithms.base import Explorer, Networks, check_rollouts, reduce, statistics
from asyncrl.errors import UserError
from asyncrl.tree import tree_map
from asyncrl.types import Loss, Outputs, Rollout, State

if TYPE_CHECKING:
    import torch
    from gymnasium.spaces import Space
    from torch import Tensor

    from asyncrl.networks.assemble import Network
    from asyncrl.networks.heads import HeadFactory


@dataclass(slots=True)
class TargetMemory:
    """The target network's own recurrent state, each [B, H], before a worker's next rollout."""

    state: State

    def tensors(self) -> dict[str, Tensor]:
        """All of it."""
        return {str(number): tensor for number, tensor in enumerate(self.state)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes up what `tensors` gave."""
        self.state = tuple(tensors[str(number)] for number in range(len(tensors)))


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """A rollout and what the target network says of its observations."""

    rollout: Rollout
    target_values: Tensor  # Q(s, ·; θ⁻) [T+1, B, A]


@dataclass(frozen=True)
class ValueBased(ABC):
    """Minimises Σ_t (y_t - Q(s_t, a_t; θ'))²; the algorithms differ in the targets y_t.

    The paper's final ε are drawn for each worker. Deviation: a worker with several environments draws one for each of
    them, so that few workers explore in as many ways as many do; with one environment per worker it is the paper's.
    """

    look_ahead: ClassVar[bool] = False
    explores: ClassVar[bool] = True  # workers take more random actions than the trained agent

    rollout_length: int = 5
    """Steps of each environment whose gradients make one update [I_AsyncUpdate; t_max of n-step Q]."""
    discount: float = 0.99
    """How much a reward one step later is worth [γ]."""
    target_interval: int = 40_000
    """Global steps after which the target network becomes the present one [I_target]."""
    final_epsilons: tuple[float, ...] = (0.1, 0.01, 0.5)
    """Share of random actions at the end: one of these for each environment [ε]."""
    epsilon_probabilities: tuple[float, ...] = ()
    """How often each final share is drawn; empty: all as often. The paper has 0.4 0.3 0.3."""
    exploration_steps: int = 4_000_000
    """Global steps in which the share of random actions falls from 1 to its final value."""
    double: bool = False
    """Choose the best next action by the online network, value it by the target network (Double Q-learning)."""
    dueling: bool = False
    """Q = V + A - mean A (dueling network)."""

    def __post_init__(self) -> None:
        check_rollouts(self.rollout_length, self.discount)
        if self.target_interval < 1 or self.exploration_steps < 1:
            raise UserError("--target-interval and --exploration-steps must be at least 1")
        if not self.final_epsilons or not all(0 <= epsilon <= 1 for epsilon in self.final_epsilons):
            raise UserError("--final-epsilons takes numbers in [0, 1], such as 0.1 0.01 0.5")
        probabilities = self.epsilon_probabilities
        if probabilities and (len(probabilities) != len(self.final_epsilons) or min(probabilities) <= 0):
            raise UserError("--epsilon-probabilities takes one positive number for each of --final-epsilons")

    @abstractmethod
    def targets(self, rollout: Rollout, online_values: Tensor, target_values: Tensor) -> Tensor:
        """What the action values should be.

        Args:
            rollout: T steps of B environments.
            online_values: Q(s, ·; θ') [T+1, B, A] if `double`, else [T, B, A]; detached.
            target_values: Q(s, ·; θ⁻) [T+1, B, A].

        Returns:
            y [T, B].
        """

    def heads(self, action_space: Space[Any]) -> Mapping[str, HeadFactory]:
        """Action values."""
        from asyncrl.networks.heads import action_value_head

        return {"q": action_value_head(action_space, self.dueling)}

    def explorer(self, network: Network, environments: int, random: torch.Generator) -> Explorer:
        """ε-greedy, ε falling from 1 to a final value of each environment's own."""
        import torch

        probabilities = torch.tensor(self.epsilon_probabilities or (1.0,) * len(self.final_epsilons))
        drawn = torch.multinomial(probabilities, environments, replacement=True, generator=random)
        final = torch.tensor(self.final_epsilons)[drawn]  # [B]

        def explore(outputs: Outputs, steps: int) -> Tensor:
            progress = F.schedules.linear(0.0, 1.0, steps, self.exploration_steps)
            return F.exploration.epsilon_greedy(outputs["q"], 1 + (final - 1) * progress, random)

        return explore

    def act(self, network: Network, outputs: Outputs, random: torch.Generator) -> Tensor:
        """ε-greedy actions with the smallest of the final ε."""
        import torch

        return F.exploration.epsilon_greedy(outputs["q"], torch.tensor(min(self.final_epsilons)), random)

    def act_greedily(self, network: Network, outputs: Outputs) -> Tensor:
        """Actions of the highest value."""
        return outputs["q"].argmax(-1)

    def make_memory(self, networks: Networks, environments: int) -> TargetMemory:
        """The target network's recurrent state at an episode's start."""
        return TargetMemory(networks.online.initial_state(environments))

    def experience(
        self, rollout: Rollout, memory: TargetMemory, networks: Networks, random: torch.Generator
    ) -> Iterable[Bootstrapped]:
        """The rollout with the target network's action values.

        The target network remembers for itself: its state runs along the rollouts beside the acting network's.
        """
        import torch

        assert networks.target is not None
        with torch.no_grad():
            upto, last = (tree_map(lambda rows, part=part: rows[part], rollout.observations) for part in _PARTS)
            values, memory.state = networks.target(upto, memory.state, rollout.first[:-1])
            final_values, _ = networks.target(last, memory.state, rollout.first[-1:])
        yield Bootstrapped(rollout, torch.cat([values["q"], final_values["q"]]))

    def loss(self, networks: Networks, experience: Bootstrapped) -> Loss:
        """The squared errors of a rollout, summed over its steps."""
        rollout, rows = experience.rollout, None if self.double else -1
        observations = tree_map(lambda all_rows: all_rows[:rows], rollout.observations)
        outputs, _ = networks.online(observations, rollout.state, rollout.first[:rows], rollout.activations)
        values = outputs["q"]  # [T, B, A], or [T+1, B, A]
        targets = self.targets(rollout, values.detach(), experience.target_values)  # [T, B]
        chosen = F.value_learning.taken(values[: len(rollout.actions)], rollout.actions)
        losses = F.value_learning.squared_error(chosen, targets)
        return Loss(
            total=reduce(losses, rollout.valid),
            statistics=statistics(rollout.valid, chosen, targets, {"value_loss": losses}),
        )

    def best_values(self, online_values: Tensor, target_values: Tensor) -> Tensor:
        """max_a Q(s, a; θ⁻) [..., B]; if `double`, Q(s, argmax_a Q(s, a; θ'); θ⁻) (van Hasselt et al. 2016, eq. 4)."""
        if self.double:
            return F.value_learning.taken(target_values, online_values.argmax(-1))
        return target_values.amax(-1)


_PARTS = (slice(None, -1), slice(-1, None))
