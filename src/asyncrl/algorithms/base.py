"""What the engine asks of an algorithm: a frozen dataclass of its hyper-parameters with these methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from asyncrl.errors import UserError

if TYPE_CHECKING:
    import torch
    from gymnasium.spaces import Space
    from torch import Tensor

    from asyncrl.networks.assemble import Network
    from asyncrl.networks.heads import HeadFactory
    from asyncrl.types import Loss, Outputs, Rollout

Explorer = Callable[["Outputs", int], "Tensor"]
"""A worker's way of acting while it learns: heads' outputs [1, B, ...] and the global step give actions [1, B, ...]."""


@dataclass(frozen=True, slots=True)
class Networks:
    """What a worker learns with."""

    online: Network  # θ', its own copy of the shared parameters
    target: Network | None = None  # θ⁻, the shared target parameters themselves, if the algorithm has them


@runtime_checkable
class Memory(Protocol):
    """What a worker keeps from rollout to rollout, such as a replay memory, where it can be saved and restored."""

    def tensors(self) -> Mapping[str, Tensor]:
        """All of it."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes up what `tensors` gave."""
        ...


@runtime_checkable
class Algorithm(Protocol):
    """Hyper-parameters and the mathematics they belong to; it holds no state, so every worker can share one.

    An algorithm whose workers act differently in training than the trained agent does, as with ε-greedy exploration,
    also has a class attribute `explores = True`: its training returns do not say whether a goal is reached.
    """

    @property
    def rollout_length(self) -> int:
        """Steps that each environment takes between two updates [T, the paper's t_max]."""
        ...

    @property
    def discount(self) -> float:
        """γ."""
        ...

    @property
    def target_interval(self) -> int | None:
        """Global steps after which θ⁻ ← θ, or None for an algorithm without a target network."""
        ...

    @property
    def look_ahead(self) -> bool:
        """Whether it learns from the action that follows a rollout, which is then chosen before the update."""
        ...

    def heads(self, action_space: Space[Any]) -> Mapping[str, HeadFactory]:
        """The network's heads by name.

        Raises:
            UserError: The algorithm cannot act in such a space.
        """
        ...

    def explorer(self, network: Network, environments: int, random: torch.Generator) -> Explorer:
        """How one worker with B environments acts while it learns."""
        ...

    def act(self, network: Network, outputs: Outputs, random: torch.Generator) -> Tensor:
        """Actions of a trained agent [..., ...] for the heads' outputs [..., ...]."""
        ...

    def act_greedily(self, network: Network, outputs: Outputs) -> Tensor:
        """The best known actions [..., ...] for the heads' outputs [..., ...]."""
        ...

    def make_memory(self, networks: Networks, environments: int) -> Any:
        """What a worker keeps from rollout to rollout; or None.

        Where it is a `Memory`, a serial run that is stopped and resumed equals the uninterrupted one.
        """
        ...

    def experience(self, rollout: Rollout, memory: Any, networks: Networks, random: torch.Generator) -> Iterable[Any]:
        """What to learn from after a rollout: `loss` is called, and its gradient applied, for each item."""
        ...

    def loss(self, networks: Networks, experience: Any) -> Loss:
        """The loss of one item of `experience`."""
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
