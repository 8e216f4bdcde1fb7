"""What asynchronous 1-step Q, 1-step Sarsa and n-step Q share: ε-greedy workers and a shared target network θ⁻."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asyncrl import functional as F
from asyncrl.algorithms.base import Every, TargetUpdate, reduce, statistics
from asyncrl.algorithms.epsilon_greedy import ActionValues
from asyncrl.errors import UserError
from asyncrl.search_ranges import Around, searched
from asyncrl.tree import tree_map
from asyncrl.types import Loss, Progress, Rollout, State, WorkerInfo

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from asyncrl.networks.assemble import Networks


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """A rollout and what the target network says of its observations."""

    rollout: Rollout
    target_values: Tensor  # Q(s, ·; θ⁻) [T+1, B, A]


class BootstrappingMemory:
    """The latest rollout, with what the target network says of it.

    The target network has a recurrent state of its own, which runs along the rollouts beside the acting network's.
    """

    def __init__(self, environments: int) -> None:
        self.environments = environments
        self.rollout: Rollout | None = None
        self.state: State | None = None  # of the target network before the next rollout, each [B, H]

    def add(self, rollout: Rollout) -> None:
        """Takes the place of the rollout before."""
        self.rollout = rollout

    def draw(self, networks: Networks, random: torch.Generator, progress: Progress) -> Iterator[Bootstrapped]:
        """The rollout with the target network's action values, once."""
        import torch

        rollout, target = self.rollout, networks.target
        assert rollout is not None
        assert target is not None
        if self.state is None:
            self.state = target.initial_state(self.environments)
        with torch.no_grad():
            upto, last = (tree_map(lambda rows, part=part: rows[part], rollout.observations) for part in _PARTS)
            values, self.state = target(upto, self.state, rollout.first[:-1])
            final_values, _ = target(last, self.state, rollout.first[-1:])
        yield Bootstrapped(rollout, torch.cat([values["q"], final_values["q"]]))

    def learned(self, experience: Bootstrapped, feedback: None) -> None:
        """Needs nothing."""

    def save(self, file: Path) -> None:
        """Writes the target network's recurrent state, if it has one."""
        from safetensors.torch import save_file

        if self.state:
            save_file({str(number): tensor.contiguous() for number, tensor in enumerate(self.state)}, file)

    def load(self, file: Path) -> None:
        """Reads what `save` wrote."""
        from safetensors.torch import load_file

        tensors = load_file(file)
        self.state = tuple(tensors[str(number)] for number in range(len(tensors)))


@dataclass(frozen=True)
class WithTargetNetwork(ActionValues):
    """Action values whose targets come from a target network θ⁻."""

    target_interval: int = searched(40_000, Around(4))
    """Global steps after which the target network becomes the present one [I_target]."""
    double: bool = False
    """Choose the best next action by the online network, value it by the target network (Double Q-learning)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target_interval < 1:
            raise UserError(f"--target-interval must be at least 1, not {self.target_interval}")

    @property
    def target_update(self) -> TargetUpdate:
        """θ⁻ ← θ every `target_interval` steps."""
        return Every(self.target_interval)

    def best_values(self, online_values: Tensor, target_values: Tensor) -> Tensor:
        """max_a Q(s, a; θ⁻) [..., B]; if `double`, Q(s, argmax_a Q(s, a; θ'); θ⁻) (van Hasselt et al. 2016, eq. 4)."""
        if self.double:
            return F.value_learning.taken(target_values, online_values.argmax(-1))
        return target_values.amax(-1)


@dataclass(frozen=True)
class ValueBased(WithTargetNetwork):
    """Minimises Σ_t (y_t - Q(s_t, a_t; θ'))² over rollouts; the algorithms differ in the targets y_t."""

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

    def make_memory(self, worker: WorkerInfo) -> BootstrappingMemory:
        """The latest rollout, and the target network's action values for it."""
        return BootstrappingMemory(worker.environments)

    def loss(self, networks: Networks, experience: Bootstrapped) -> Loss:
        """The squared errors of a rollout, summed over its steps."""
        rollout = experience.rollout
        values = networks.online.unroll(rollout, final=self.double)["q"]  # [T, B, A], or [T+1, B, A] if `double`
        targets = self.targets(rollout, values.detach(), experience.target_values)  # [T, B]
        chosen = F.value_learning.taken(values[: len(rollout.actions)], rollout.actions)
        losses = F.value_learning.squared_error(chosen, targets)
        return Loss(
            total=reduce(losses, rollout.valid),
            statistics=statistics(rollout.valid, chosen, targets, {"value_loss": losses}),
        )


_PARTS = (slice(None, -1), slice(-1, None))
