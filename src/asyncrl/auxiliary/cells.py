"""The grid of cells over the middle of an environment's images, in which tasks see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gymnasium.spaces import Box, Dict

from asyncrl.errors import UserError
from asyncrl.networks.images import channels_last, image_shape, is_image

if TYPE_CHECKING:
    from torch import Tensor

    from asyncrl.types import EnvironmentInfo

CELLS = 20
"""Cells along the shorter side of an image, roughly: 20 of the 84 pixels of an Atari image, with 4 pixels each."""
FEWEST = 4
"""Cells along a side that the deconvolution can give."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Rows and columns of square cells, each number even, in the middle of an image."""

    rows: int
    columns: int
    side: int  # of a cell, in pixels
    top: int  # first row of pixels in the cells
    left: int
    channels: int  # of the newest frame
    key: str | None  # of the images in Dict observations
    has_channels: bool  # false: boards [H, W]
    channels_last: bool
    low: float  # darkest intensity
    scale: float  # makes the brightest one 1

    @classmethod
    def of(cls, info: EnvironmentInfo, option: str) -> Cells:
        """The cells of an environment's images. Boards [H, W] are images of one channel.

        Args:
            info: The environment. Of a Dict observation, the first image counts.
            option: Of the task that needs images, for the message.

        Raises:
            UserError: The environment observes no images.
        """
        key, space = _image_of(info.observation_space)
        if space is None:
            raise UserError(
                f"{option} needs images of at least {FEWEST} x {FEWEST} pixels, which {info.id} does not observe: "
                f"add {option} 0"
            )
        has_channels = is_image(space)
        height, width, channels = image_shape(space) if has_channels else (*space.shape, 1)
        side = max(1, min(height, width) // CELLS)
        rows, columns = height // side // 2 * 2, width // side // 2 * 2
        low, high = float(space.low.min()), float(space.high.max())
        bounded = float("-inf") < low < high < float("inf")
        return cls(
            rows,
            columns,
            side,
            (height - rows * side) // 2,
            (width - columns * side) // 2,
            channels // info.frame_stack if has_channels else 1,
            key,
            has_channels,
            has_channels and channels_last(space),
            low if bounded else 0.0,
            1 / (high - low) if bounded else 1.0,
        )

    def images(self, observations: Any) -> Tensor:
        """The newest frames of observations [...], cropped: intensities [..., rows * side, columns * side, channels].

        They lie in [0, 1] if the space has bounds.
        """
        import torch

        images = observations[self.key] if isinstance(observations, Mapping) else observations
        if not self.has_channels:
            images = images.unsqueeze(-1)
        elif not self.channels_last:
            images = images.movedim(-3, -1)
        bottom, right = self.top + self.rows * self.side, self.left + self.columns * self.side
        newest: Tensor = images[..., self.top : bottom, self.left : right, -self.channels :]
        return (newest.to(torch.float32) - self.low) * self.scale


def _image_of(space: Any) -> tuple[str | None, Box | None]:
    """The first image of an observation space and its key; images with channels come before boards."""
    parts = space.spaces.items() if isinstance(space, Dict) else [(None, space)]
    found = [(key, part) for key, part in parts if isinstance(part, Box) and _is_large_enough(part)]
    return min(found, key=lambda pair: not is_image(pair[1]), default=(None, None))


def _is_large_enough(space: Box) -> bool:
    if is_image(space):
        return min(image_shape(space)[:2]) >= FEWEST
    return len(space.shape) == 2 and min(space.shape) >= FEWEST
