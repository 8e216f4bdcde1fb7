"""What the engine asks of an algorithm: a frozen dataclass of its hyper-parameters with these methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from asyncrl.errors import UserError
from asyncrl.memory.base import Memory
from asyncrl.memory.latest import LatestRollout
from asyncrl.search_ranges import OneOf

if TYPE_CHECKING:
    import torch
    from gymnasium.spaces import Space
    from torch import Tensor

    from asyncrl.networks.assemble import Network, Networks
    from asyncrl.networks.heads import Head
    from asyncrl.types import EnvironmentInfo, Loss, Outputs, Progress, WorkerInfo

DISCOUNTS = OneOf((0.9, 0.95, 0.98, 0.99, 0.995, 0.999))
"""Discounts that `asyncrl tune` tries."""

Explorer = Callable[["Outputs", "Progress"], "Tensor"]
"""How a worker acts while it learns: heads' outputs [1, B, ...] and the run's progress give actions [1, B, ...]."""


@dataclass(frozen=True)
class Every:
    """θ⁻ ← θ each time the global step passes a multiple of an interval (Mnih et al. 2015 and 2016)."""

    steps: int  # [I_target]


@dataclass(frozen=True)
class Towards:
    """θ⁻ ← α θ⁻ + (1 - α) θ after each update, an average of the latest parameters (Wang et al. 2017)."""

    decay: float  # α


TargetUpdate = Every | Towards
"""How a second parameter vector, the target θ⁻, follows θ."""


@runtime_checkable
class Algorithm(Protocol):
    """Hyper-parameters and the mathematics they belong to; it holds no state, so every worker can share one.

    A class that inherits from this protocol gets what most algorithms share: no target network, no look-ahead, nothing
    kept of the behaviour policy, actions drawn from the policy in training too, and the latest rollout as the memory.
    """

    @property
    def rollout_length(self) -> int:
        """Steps that each environment takes between two rounds of learning [T, the paper's t_max]."""
        ...

    @property
    def discount(self) -> float:
        """How much a reward one step later is worth [γ]."""
        ...

    @property
    def target_update(self) -> TargetUpdate | None:
        """How the target network's parameters θ⁻ follow θ, or None for an algorithm without a target network."""
        return None

    @property
    def look_ahead(self) -> bool:
        """Whether it learns from the action that follows a rollout, which is then chosen before the update."""
        return False

    @property
    def explores(self) -> bool:
        """Whether workers act differently while they learn than the trained agent does, as with ε-greedy exploration.

        Their training returns then do not say whether a goal is reached.
        """
        return False

    @property
    def learns_from_replay_alone(self) -> bool:
        """Whether its memory is a `ReplayMemory`, so that other workers than those that learn may do the acting."""
        return False

    @property
    def learns_before_replay(self) -> bool:
        """Whether it learns from rollouts as they come, also while its replay memory has too little in it."""
        return False

    @property
    def behaviour(self) -> tuple[str, ...]:
        """Heads whose outputs at the time of acting are kept in `Rollout.behaviour`, for off-policy corrections."""
        return ()

    def heads(self, action_space: Space[Any]) -> Mapping[str, Head]:
        """The network's heads by name.

        Raises:
            UserError: The algorithm cannot act in such a space.
        """
        ...

    def auxiliary_heads(self, info: EnvironmentInfo) -> Mapping[str, Head]:
        """Further heads by name, which depend on more than the actions; each has `auxiliary=True`.

        Raises:
            UserError: They make no sense in such an environment.
        """
        return {}

    def explorer(self, network: Network, worker: WorkerInfo, random: torch.Generator) -> Explorer:
        """How one worker acts in its B environments while it learns."""
        return lambda outputs, _progress: self.act(network, outputs, random)

    def act(self, network: Network, outputs: Outputs, random: torch.Generator) -> Tensor:
        """Actions of a trained agent [..., ...] for the heads' outputs [..., ...]."""
        ...

    def act_greedily(self, network: Network, outputs: Outputs) -> Tensor:
        """The best known actions [..., ...] for the heads' outputs [..., ...]."""
        ...

    def make_memory(self, worker: WorkerInfo) -> Memory:
        """One worker's memory, empty."""
        return LatestRollout()

    def memory_bytes(self, worker: WorkerInfo) -> int:
        """Room that one worker's memory takes when it is full, in bytes, if it is worth a check before the run.

        Raises:
            UserError: The settings of the memory make no sense for so many environments.
        """
        return 0

    def loss(self, networks: Networks, experience: Any) -> Loss:
        """The loss of one item that the memory gave."""
        ...


def check_rollouts(rollout_length: int, discount: float) -> None:
    """Refuses settings that no algorithm can use.

    Raises:
        UserError: One makes no sense.
    """
    if rollout_length < 1:
        raise UserError(f"--rollout-length must be at least 1, not {rollout_length}")
    if not 0 <= discount <= 1:
        raise UserError(f"--discount must lie in [0, 1], not {discount}")


def check_persistence(persistence: float) -> None:
    """Refuses a persistence of exploration that is not in [0, 1).

    Raises:
        UserError: It is not.
    """
    if not 0 <= persistence < 1:
        raise UserError(f"--exploration-persistence must lie in [0, 1), not {persistence}")


def check_counts(algorithm: Algorithm, *names: str) -> None:
    """Refuses settings of an algorithm, given by name, that are not at least 1.

    Raises:
        UserError: One is not.
    """
    for name in names:
        if getattr(algorithm, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(algorithm, name)}")


def check_replay(capacity: int, start: int, batch_size: int = 1) -> None:
    """Refuses a replay memory that never holds enough to begin.

    Raises:
        UserError: It does not.
    """
    if start > capacity:
        raise UserError(
            f"--replay-start {start} never comes with --replay-capacity {capacity}: "
            "give a larger capacity or an earlier start"
        )
    if batch_size > capacity:
        raise UserError(
            f"--batch-size {batch_size} is larger than --replay-capacity {capacity}: "
            "give a smaller batch or a larger capacity"
        )


def reduce(losses: Tensor, valid: Tensor) -> Tensor:
    """Sum over time, mean over environments, dummy steps left out: the one place where losses are reduced.

    The papers accumulate gradients over a rollout, and their learning rates presume that sum.

    Args:
        losses: [T, B].
        valid: [T, B] bool.
    """
    return (losses * valid).sum(0).mean()


def statistics(valid: Tensor, values: Tensor, targets: Tensor, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Means over the valid steps: of the losses, the values, their targets and the targets' squares.

    Telemetry makes `value_explained` of the last ones and `value_loss`. The means are taken in float64: in float32 the
    difference of a large mean square and a large squared mean would leave nothing of a small variance.

    Args:
        valid: [T, B] bool.
        values: V [T, B].
        targets: [T, B].
        losses: By name, each [T, B]; `value_loss` is (target - V)², without a factor 1/2.
    """
    import torch

    with torch.no_grad():
        weights = valid.flatten().double()
        weights /= weights.sum().clamp(min=1)
        means = {**losses, "value_mean": values, "target_mean": targets, "target_square": targets.double().square()}
        return dict(zip(means, torch.stack(tuple(means.values())).flatten(1) @ weights, strict=True))
