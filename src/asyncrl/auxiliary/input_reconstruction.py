"""Reconstructing the image, the other baseline of pixel control (Jaderberg et al. 2017, §4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from asyncrl import functional as F
from asyncrl.auxiliary.base import AuxiliaryTask, TaskLoss
from asyncrl.auxiliary.cells import Cells
from asyncrl.networks.deconvolution import MapsHead
from asyncrl.networks.heads import Head
from asyncrl.tree import tree_map
from asyncrl.types import Rollout

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from asyncrl.memory.auxiliary_replay import AuxiliaryReplay
    from asyncrl.networks.assemble import Network
    from asyncrl.types import EnvironmentInfo


class Seen(NamedTuple):
    """Replayed sequences, and the images in them."""

    rollout: Rollout
    intensities: Tensor  # mean of each cell and channel of the newest frame [T, N, rows, columns, C]


class InputReconstruction(AuxiliaryTask):
    """Reconstructs the newest frame from the torso's features.

    Deviation: the paper reconstructs pixels; here it is the mean intensity of each channel in each cell.
    """

    name = "input_reconstruction"

    def heads(self, info: EnvironmentInfo) -> Mapping[str, Head]:
        """A deconvolution of the torso's features.

        Raises:
            UserError: There are no images.
        """
        cells = Cells.of(info, "--input-reconstruction")

        def make(features: int) -> MapsHead:
            return MapsHead(features, cells.rows, cells.columns, cells.frame.channels)

        return {self.name: Head(make, fed_by="torso", auxiliary=True)}

    def draw(self, replay: AuxiliaryReplay, random: torch.Generator) -> Seen | None:
        """Sequences, with the intensities in their cells."""
        rollout = replay.sequences(random)
        if rollout is None:
            return None
        cells = Cells.of(replay.environment, self.name)
        images = cells.images(tree_map(lambda rows: rows[:-1], rollout.observations))
        return Seen(rollout, F.auxiliary.cell_means(images, cells.side))

    def loss(self, network: Network, sample: Seen) -> TaskLoss:
        """The squared errors, averaged over channels and summed over cells."""
        observations = tree_map(lambda rows: rows[:-1], sample.rollout.observations)
        images = network.see(observations, [self.name])[self.name]
        losses = (images - sample.intensities).square().mean(-1).flatten(2).sum(-1)
        return TaskLoss(losses, sample.rollout.valid)
