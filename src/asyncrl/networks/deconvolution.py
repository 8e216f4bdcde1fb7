"""Heads that give maps: a fully-connected layer, then a deconvolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asyncrl.functional.masking import masked

CHANNELS = 32


class MapsHead(nn.Module):
    """Maps [..., rows, columns, M] from features.

    A fully-connected layer with ReLU gives 32 small maps, and a deconvolution with 4 x 4 kernels and stride 2 enlarges
    them: 9 x 9 to 20 x 20.

    Args:
        features: Number of features [F].
        rows: Of a map; even, and at least 4.
        columns: Of a map; even, and at least 4.
        maps: Number of maps [M].
    """

    def __init__(self, features: int, rows: int, columns: int, maps: int) -> None:
        super().__init__()
        self.small = CHANNELS, rows // 2 - 1, columns // 2 - 1
        self.dense = nn.Linear(features, self.small[0] * self.small[1] * self.small[2])
        self.deconvolution = nn.ConvTranspose2d(CHANNELS, maps, 4, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Features [..., F] give maps [..., rows, columns, M]."""
        small = torch.relu_(self.dense(features)).view(-1, *self.small)
        maps = self.deconvolution(small).movedim(1, -1)  # [N, rows, columns, M]
        return torch.reshape(maps, (*features.shape[:-1], *maps.shape[1:]))


class DuelingMapsHead(nn.Module):
    """Action values of each cell of a grid [..., rows, columns, A]; dueling: Q = V + A - mean_a A."""

    def __init__(self, features: int, rows: int, columns: int, actions: int) -> None:
        super().__init__()
        self.maps = MapsHead(features, rows, columns, 1 + actions)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features [..., F] give Q [..., rows, columns, A]. Forbidden actions count in the mean of the advantages."""
        value, advantage = self.maps(features).split([1, self.maps.deconvolution.out_channels - 1], -1)
        values = value + advantage - advantage.mean(-1, keepdim=True)
        return masked(values, None if mask is None else mask[..., None, None, :])
