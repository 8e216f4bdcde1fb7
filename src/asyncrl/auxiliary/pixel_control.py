"""Pixel control: learning to change the image (Jaderberg et al. 2017, §3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from asyncrl import functional as F
from asyncrl.auxiliary.base import AuxiliaryTask, TaskLoss
from asyncrl.auxiliary.cells import Cells
from asyncrl.auxiliary.control import DISCOUNT, control_losses, number_of_actions
from asyncrl.networks.deconvolution import DuelingMapsHead
from asyncrl.networks.heads import Head
from asyncrl.types import Rollout

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from asyncrl.memory.auxiliary_replay import AuxiliaryReplay
    from asyncrl.networks.assemble import Network
    from asyncrl.types import EnvironmentInfo


class Changing(NamedTuple):
    """Replayed sequences, and how much each step changed the image."""

    rollout: Rollout
    changes: Tensor  # of each cell [T, N, rows, columns]


class PixelControl(AuxiliaryTask):
    """Learns action values of changing the intensities in each cell of a grid, by n-step Q-learning from replay.

    Deviation: an image that is not 84 x 84 has cells of another size, so that about 20 lie along its shorter side.
    """

    name = "pixel_control"
    discount = DISCOUNT

    def heads(self, info: EnvironmentInfo) -> Mapping[str, Head]:
        """Action values of each cell, by a dueling deconvolution of what the core gives.

        Raises:
            UserError: There are no images, or the actions are not discrete.
        """
        option = f"--{self.name.replace('_', '-')}"
        cells, actions = Cells.of(info, option), number_of_actions(info.action_space, option)

        def make(features: int) -> DuelingMapsHead:
            return DuelingMapsHead(features, cells.rows, cells.columns, actions)

        return {self.name: Head(make, auxiliary=True, masked=True)}

    def draw(self, replay: AuxiliaryReplay, random: torch.Generator) -> Changing | None:
        """Sequences, with the change by each step."""
        rollout = replay.sequences(random)
        if rollout is None:
            return None
        cells = Cells.of(replay.environment, self.name)
        return Changing(rollout, F.auxiliary.pixel_change(cells.images(rollout.observations), cells.side))

    def loss(self, network: Network, sample: Changing) -> TaskLoss:
        """The squared errors, summed over cells."""
        action_values = network.unroll(sample.rollout, heads=[self.name])[self.name]  # [T+1, N, rows, columns, A]
        losses = control_losses(action_values, sample.changes, sample.rollout, self.discount)
        return TaskLoss(losses, sample.rollout.valid)
