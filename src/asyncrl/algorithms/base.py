"""What the engine asks of an algorithm: a frozen dataclass of its hyper-parameters with these methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from gymnasium.spaces import Space
    from torch import Tensor

    from asyncrl.networks.assemble import Network
    from asyncrl.networks.heads import HeadFactory
    from asyncrl.types import Loss, Outputs, Rollout


@dataclass(frozen=True, slots=True)
class Networks:
    """A worker's own networks, copies of the shared parameters θ."""

    online: Network


@runtime_checkable
class Algorithm(Protocol):
    """Hyper-parameters and the mathematics they belong to; it holds no state, so every worker can share one."""

    @property
    def rollout_length(self) -> int:
        """Steps that each environment takes between two updates [T, the paper's t_max]."""
        ...

    @property
    def discount(self) -> float:
        """γ."""
        ...

    def heads(self, action_space: Space[Any]) -> Mapping[str, HeadFactory]:
        """The network's heads by name.

        Raises:
            UserError: The algorithm cannot act in such a space.
        """
        ...

    def act(self, network: Network, outputs: Outputs, random: torch.Generator) -> Tensor:
        """Exploring actions [...] for the heads' outputs [..., ...]."""
        ...

    def act_greedily(self, network: Network, outputs: Outputs) -> Tensor:
        """The best known actions [...] for the heads' outputs [..., ...]."""
        ...

    def make_memory(self) -> Any:
        """A worker's own replay memory, or None for an algorithm that learns from each rollout once."""
        ...

    def experience(self, rollout: Rollout, memory: Any, random: torch.Generator) -> Iterable[Any]:
        """What to learn from after a rollout: `loss` is called, and its gradient applied, for each item."""
        ...

    def loss(self, networks: Networks, experience: Any) -> Loss:
        """The loss of one item of `experience`."""
        ...


def reduce(losses: Tensor, valid: Tensor) -> Tensor:
    """Sum over time, mean over environments, dummy steps left out: the one place where losses are reduced.

    The papers accumulate gradients over a rollout, and their learning rates presume that sum.

    Args:
        losses: [T, B].
        valid: [T, B] bool.
    """
    return (losses * valid).sum(0).mean()


def mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid entries [T, B], for statistics."""
    return (values.detach() * valid).sum() / valid.sum().clamp(min=1)
