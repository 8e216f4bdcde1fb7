"""What an auxiliary task is: heads, what it draws from the replay, and a loss that shapes the shared network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from asyncrl.memory.auxiliary_replay import AuxiliaryReplay
    from asyncrl.networks.assemble import Network
    from asyncrl.networks.heads import Head
    from asyncrl.types import EnvironmentInfo


@dataclass(frozen=True, slots=True)
class TaskLoss:
    """What a task learns from a sample. It is reduced as all losses are: summed over T, averaged over N."""

    losses: Tensor  # [T, N], before the task's weight
    valid: Tensor  # [T, N] bool, false where a loss does not count
    statistics: Mapping[str, Tensor] = field(default_factory=dict)  # numbers worth watching, each []


class AuxiliaryTask(Protocol):
    """Something to learn beside the return, so that the network that all heads share learns more of each step.

    A class that inherits from this protocol needs no heads of the algorithm. It is made without arguments and holds no
    state.
    """

    @property
    def name(self) -> str:
        """What its statistics are called after, such as `pixel_control`."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the algorithm's own heads that it learns with."""
        return ()

    def heads(self, info: EnvironmentInfo) -> Mapping[str, Head]:
        """Heads of its own by name; each has `auxiliary=True`, so that only this task computes it.

        Raises:
            UserError: The task makes no sense in such an environment.
        """
        ...

    def draw(self, replay: AuxiliaryReplay, random: torch.Generator) -> Any:
        """A sample for one update, or None as long as there is nothing to draw."""
        ...

    def loss(self, network: Network, sample: Any) -> TaskLoss:
        """The loss of a sample that `draw` gave."""
        ...
